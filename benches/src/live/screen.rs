//! The terminal, borrowed: another screen, no cursor, no echo; given back on drop and before a panic is reported.

use std::io::{self, BufWriter, Stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::course::Course;
use super::view;

/// What this process has of the terminal: there is one at most, as there is one terminal.
static LENT: Mutex<Weak<Loan>> = Mutex::new(Weak::new());

/// Gives the terminal back where a view has it: before an exit that drops nothing, and before a panic is reported. From
/// then on there is no view.
pub fn give_back() {
    let lent = LENT.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
    if let Some(loan) = lent {
        loan.give_back();
    }
}

/// On the other screen nobody would read of a panic.
fn give_back_on_panic() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            previous(panic);
        }));
    });
}

/// The view on standard error.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
    loan: Arc<Loan>,
    colour: bool,
}

impl Screen {
    /// Takes the terminal; `None` where another process has it in the foreground, which would stop this one.
    pub fn open(colour: bool) -> io::Result<Option<Self>> {
        if !in_foreground() {
            return Ok(None);
        }
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(io::stderr())))?;
        let loan = Arc::new(Loan::take()?);
        *LENT.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&loan);
        give_back_on_panic();
        Ok(Some(Screen { terminal, loan, colour }))
    }

    /// Whether the terminal has not been given back.
    pub fn is_open(&self) -> bool {
        !self.loan.given_back.load(Ordering::Acquire)
    }

    /// Draws the run as it is now.
    pub fn draw(&mut self, course: &Course) -> io::Result<()> {
        self.terminal.draw(|frame| view::render(frame, course, self.colour)).map(|_| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.loan.give_back();
    }
}

/// What has to be undone. Signals stay as they are: Ctrl-C still ends the run.
struct Loan {
    modes: Termios,
    given_back: AtomicBool,
}

impl Loan {
    fn take() -> io::Result<Self> {
        let modes = tcgetattr(io::stderr())?;
        let mut silent = modes.clone();
        // Keys pressed meanwhile would be written into the view.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        tcsetattr(io::stderr(), OptionalActions::Now, &silent)?;
        let loan = Loan { modes, given_back: AtomicBool::new(false) };
        execute!(io::stderr(), EnterAlternateScreen, Hide).inspect_err(|_| loan.give_back())?;
        Ok(loan)
    }

    fn give_back(&self) {
        if self.given_back.swap(true, Ordering::AcqRel) {
            return;
        }
        let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
        // In the background this would stop the process; a shell has its own modes set then.
        if in_foreground() {
            let _ = tcsetattr(io::stderr(), OptionalActions::Flush, &self.modes);
        }
    }
}

fn in_foreground() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|foreground| foreground == rustix::process::getpgrp())
}
