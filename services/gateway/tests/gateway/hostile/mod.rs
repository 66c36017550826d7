//! What somebody sends who means harm, over real connections. `docs/hostile-input.md` has the verdict of each form.

mod bombs;
mod names;
mod slow;
mod smuggling;
