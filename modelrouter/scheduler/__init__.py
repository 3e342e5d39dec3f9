"""The scheduler: which model runs now, inside one memory budget. `design.md` has the theory."""
