//! What is said when the process that looks at listeners does not answer, and when it does again.

use std::io;

use super::Live;

impl Live {
    /// The process that looks did not answer. What was known stays known; this is said once.
    pub(super) fn unanswered(&mut self, error: &io::Error) {
        // While one answer is late, others are not even asked for.
        if !self.troubled || error.kind() != io::ErrorKind::TimedOut {
            self.unanswered += 1;
        }
        if !self.troubled {
            self.troubled = true;
            self.say(&format!(
                "listeners and counters cannot be looked at, so tracing goes on with what was known \
                 of them: {error}"
            ));
        }
    }

    /// It answered.
    pub(super) fn answered(&mut self) {
        if self.troubled {
            self.troubled = false;
            self.say("listeners and counters are looked at again");
        }
    }

    fn say(&self, text: &str) {
        if self.drawn {
            log::warn!("{text}");
        } else {
            crate::say!("overflow: {text}");
        }
    }
}
