mod cost;
mod crash;
mod lake;
mod scenario;
