//! Keys -> what they ask for.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use overflow::sink::top::Action;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Something of the view.
    View(Action),
    /// To be suspended, as by the shell's job control.
    Suspend,
    /// To draw the whole screen anew.
    Redraw,
    /// Nothing.
    Nothing,
}

pub(super) fn asked(key: KeyEvent) -> Asked {
    if key.kind == KeyEventKind::Release {
        return Asked::Nothing;
    }
    let action = match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
        // In raw mode these come as keys, not as signals.
        (KeyCode::Char('c' | 'd'), true) => Action::Quit,
        (KeyCode::Char('z'), true) => return Asked::Suspend,
        (KeyCode::Char('l'), true) => return Asked::Redraw,
        (KeyCode::Char(_), true) => return Asked::Nothing,
        (KeyCode::Char('q'), _) => Action::Quit,
        (KeyCode::Up | KeyCode::Char('k'), _) => Action::Up,
        (KeyCode::Down | KeyCode::Char('j'), _) => Action::Down,
        (KeyCode::PageUp, _) => Action::PageUp,
        (KeyCode::PageDown | KeyCode::Char(' '), _) => Action::PageDown,
        (KeyCode::Home | KeyCode::Char('g'), _) => Action::First,
        (KeyCode::End | KeyCode::Char('G'), _) => Action::Last,
        (KeyCode::Char('>' | 's') | KeyCode::Right, _) => Action::SortNext,
        (KeyCode::Char('<' | 'S') | KeyCode::Left, _) => Action::SortPrevious,
        (KeyCode::Char('r'), _) => Action::Reverse,
        (KeyCode::Enter, _) => Action::Details,
        (KeyCode::Esc | KeyCode::Backspace, _) => Action::Back,
        (KeyCode::Char('p'), _) => Action::Pause,
        (KeyCode::Char('a'), _) => Action::Idle,
        (KeyCode::Char('?' | 'h'), _) => Action::Help,
        _ => return Asked::Nothing,
    };
    Asked::View(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_c_is_not_c() {
        let control = |c| asked(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
        let plain = |c| asked(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        assert_eq!([control('c'), plain('c')], [Asked::View(Action::Quit), Asked::Nothing]);
        assert_eq!([control('z'), plain('a')], [Asked::Suspend, Asked::View(Action::Idle)]);
        assert_eq!(control('a'), Asked::Nothing);
    }
}
