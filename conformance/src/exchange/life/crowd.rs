//! A crowd that was there before and does nothing.

use super::{CONNECTED, SECOND, pool};
use crate::exchange::row::Row;
use crate::exchange::wire::{HANDSHAKE, Wire, merged, request, response};
use crate::exchange::world::{Door, Fault, World};

/// The pool in which users live, with room for a crowd that nobody asks whether it is still there.
pub fn crowded() -> Row {
    pool("limits connections = 200_000\nlimits ping_interval = \"1d\"\n")
}

/// Lets so many connections come, of `users` users, and waits until the backend was told that all of them are inactive.
/// Their connections stay.
///
/// # Errors
/// Somebody was not let in, or the backend was not told once of everybody.
pub fn gather(connections: usize, users: usize, world: &mut dyn World) -> Result<(), Fault> {
    let mut backend = Backend::default();
    for number in 0..connections {
        let hello = format!("{{\"user_id\":\"idle{}\"}}", number % users);
        let mut wire = Wire::new(world.open(Door::Web)?);
        world.write(wire.end, &request("GET /ws", &merged(HANDSHAKE, &Vec::new()), ""));
        backend.serve(world, &hello)?;
        let (head, said) = wire.greeting(world)?;
        if head.status()? != 101 || said != format!("[\"hello\",{{}},{hello}]") {
            return Err(format!("{head:?}, {said}"));
        }
    }
    // Until the connections to the backend have been closed, too.
    for _ in 0..2 * CONNECTED.as_secs() + 300 {
        world.wait(SECOND);
        backend.serve(world, "{}")?;
    }
    match backend.told {
        told if told == users => Ok(()),
        told => Err(format!("the backend was told of {told} of {users} users")),
    }
}

/// It lets everybody in, and counts those who became inactive.
#[derive(Default)]
struct Backend {
    wires: Vec<Wire>,
    told: usize,
}

impl Backend {
    fn serve(&mut self, world: &mut dyn World, answer: &str) -> Result<(), Fault> {
        let answer = response(200, "application/json", answer);
        loop {
            while let Some(end) = world.accept("app") {
                self.wires.push(Wire::new(end));
            }
            let mut is_done = true;
            for wire in &mut self.wires {
                wire.fill(world);
                while let Some(message) = wire.message(true)? {
                    self.told += usize::from(message.start.contains("/session_inactive "));
                    world.write(wire.end, &answer);
                    is_done = false;
                }
            }
            self.wires.retain(|wire| wire.is_open);
            if is_done {
                return Ok(());
            }
        }
    }
}
