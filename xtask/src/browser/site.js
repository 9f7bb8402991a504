// What is wrong with the page of the kernel model, as sentences: it is used as somebody would.
async () => {
  const faults = [];
  const expect = (good, text) => { if (!good) faults.push(text); };
  const { page } = window.overflow;
  const id = (name) => document.getElementById(name);
  const text = (name) => id(name).textContent;

  // The seed experiment comes first, and says what it shows.
  expect(text("left-h").includes("CentOS 7") && text("right-h").includes("Ubuntu 24.04"), "the first experiment is another");
  expect(text("verdict").startsWith("Client 3 is the first"), `it parts elsewhere: ${text("verdict")}`);
  expect(!id("seed").hidden && !id("why").hidden, "nothing introduces it");
  id("part").click();
  expect(id("left").querySelector(".card.parting") && id("right").querySelector(".card.parting"), "the parting is not marked");
  expect(id("right").querySelector(".card").textContent.includes("reqsk_queue_len 2 > sk_max_ack_backlog 1"), "the condition is missing");
  expect(location.hash === `#at=${page.story.parting.at}`, `the link says ${location.hash}`);
  expect(text("said").includes("client 3"), "a screen reader hears nothing of it");

  // Steps, both ways, and to the end.
  const at = page.player.place;
  id("forth").click();
  expect(page.player.place === at + 1, "a step forth is none");
  id("back").click();
  expect(page.player.place === at, "a step back is none");
  id("steps").querySelector("tbody tr:last-child button").click();
  expect(page.player.place === page.story.moments.length, "the last row does not lead to the end");
  const fates = id("fates").textContent;
  expect(fates.includes("answered by RST") && fates.includes("the client believes it is connected"), "the fates are others");

  // Playing moves, and stands where it was stopped.
  page.player.go(0);
  id("play").click();
  await new Promise((done) => setTimeout(done, 700));
  id("play").click();
  expect(page.player.place > 0 && Number.isInteger(page.player.place), `after playing it is at ${page.player.place}`);
  expect(id("play").getAttribute("aria-pressed") === "false", "it still says that it plays");

  // A setting, the other language, and back.
  id("f-abort").value = "0";
  id("f-abort").dispatchEvent(new Event("change"));
  expect(page.state.abort === 0 && location.hash.includes("abort=0") && id("seed").hidden, "a setting has no effect");
  id("nav-language").click();
  expect(document.documentElement.lang === "zh-Hans" && text("form-h") === "修改实验" && location.hash.includes("lang=zh"), "there is no Chinese");
  for (const element of document.querySelectorAll("main *"))
    if (element.children.length === 0 && element.textContent.includes("undefined")) faults.push(`it says undefined: ${element.textContent}`);
  id("nav-language").click();
  id("reset").click();
  expect(page.state.abort === 1, "it does not go back to the first experiment");
  id("answer").open = true;
  await new Promise((done) => setTimeout(done, 50));
  expect(text("lines").trim().split("\n").every((line) => JSON.parse(line).v === 1), "its JSON lines are none");
  id("answer").open = false;

  // Queues hold whom they are said to hold, at every moment.
  for (const change of [{}, { clients: 50, backlog: 4, accept: 400, payload: 5, prefill: 3 }, { clients: 20, cookies: 0, left: "4.4.100", defer: 3 }]) {
    page.change({ ...page.state, ...change }, 0);
    for (let place = 0; place <= page.story.moments.length; place++) {
      page.player.go(place);
      for (const side of page.sides)
        if (side.now.syn.length !== side.now.queues[0] || side.now.accept.length !== side.now.queues[1]) {
          faults.push(`${side.side.kernel} at ${place} holds ${side.now.syn}/${side.now.accept} in ${side.now.queues}`);
          place = Infinity;
        }
    }
  }

  // 60 frames a second with 50 clients: drawing one leaves most of its time to the browser.
  page.change({ ...page.state, clients: 50, backlog: 8, cookies: 1 }, 0);
  const frames = 300;
  const pace = page.story.moments.length / page.story.durations.reduce((sum, d) => sum + d, 0) / 60;
  const took = [];
  for (let i = 0; i < frames; i++) {
    const began = performance.now();
    page.show(100 + i * pace);
    document.body.getBoundingClientRect();
    took.push(performance.now() - began);
  }
  // Of a machine that is shared the median says more than the mean.
  window.overflow.frame = took.sort((a, b) => a - b)[frames / 2];
  id("reset").click();
  return faults;
}
