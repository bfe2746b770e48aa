//! What a row is played in.

use std::time::Duration;

/// Something that is not as it must be, in words.
pub(crate) type Fault = String;

/// Where a connection leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Door {
    /// Clients' listener.
    Web,
    /// The interface for backends.
    Api,
}

/// From a shard to another; `None` stands for any.
pub type Route = (Option<usize>, Option<usize>);

/// One end of a connection: ours.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct End(pub(crate) usize);

/// The servers under test, seen from all sides.
pub trait World {
    /// A new connection to a listener.
    ///
    /// # Errors
    /// There is none.
    fn open(&mut self, door: Door) -> Result<End, String>;

    /// A connection that has come to the backend, if there is one.
    fn accept(&mut self, upstream: &str) -> Option<End>;

    /// Sends.
    fn write(&mut self, end: End, bytes: &[u8]);

    /// Takes what is there; `false`: nothing more will come.
    fn read(&mut self, end: End, into: &mut Vec<u8>) -> bool;

    /// Closes a connection, both directions.
    fn close(&mut self, end: End);

    /// Lets happen what is about to. `false`: nothing is, so that whoever waits waits in vain.
    fn rest(&mut self) -> bool;

    /// Time passes.
    fn wait(&mut self, time: Duration);

    /// The order to shut down.
    fn shut_down(&mut self);

    /// Mail between these shards waits, or none. `false`: it cannot be made to.
    fn hold(&mut self, held: Option<Route>) -> bool;
}
