// Playing: a place on the story's line that moves with the frames.

export class Player {
  /// `show(place)` draws; `rested(place)` is called when it stands still, `turned(playing)` when it starts
  /// or stops.
  constructor({ show, rested, turned }) {
    Object.assign(this, { show, rested, turned, place: 0, speed: 1, playing: false, durations: [], last: 0 });
    this.frame = this.frame.bind(this);
  }

  /// A new story, at a moment.
  begin(durations, at) {
    this.durations = durations;
    this.stop();
    this.go(at);
  }

  end() {
    return this.durations.length;
  }

  /// Goes to a moment and stands there.
  go(at) {
    this.place = Math.min(Math.max(at, 0), this.end());
    this.show(this.place);
    if (!this.playing) this.rested(this.place);
  }

  step(by) {
    this.stop();
    this.go(by > 0 ? Math.floor(this.place) + 1 : Math.ceil(this.place) - 1);
  }

  toggle() {
    if (this.playing) {
      this.stop();
      // Stand at a moment, so that the link says where.
      this.go(Math.round(this.place));
      return;
    }
    if (this.place >= this.end()) this.place = 0;
    this.playing = true;
    this.last = performance.now();
    this.turned(true);
    requestAnimationFrame(this.frame);
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    this.turned(false);
  }

  frame(now) {
    if (!this.playing) return;
    // A page that was in the background does not leap.
    let left = Math.min((now - this.last) / 1000, 0.1) * this.speed;
    this.last = now;
    while (left > 0 && this.place < this.end()) {
      const moment = Math.floor(this.place);
      const duration = this.durations[moment] || 0.01;
      const rest = (moment + 1 - this.place) * duration;
      if (left < rest) {
        this.place += left / duration;
        left = 0;
      } else {
        this.place = moment + 1;
        left -= rest;
      }
    }
    this.show(this.place);
    if (this.place >= this.end()) {
      this.stop();
      this.rested(this.place);
      return;
    }
    requestAnimationFrame(this.frame);
  }
}
