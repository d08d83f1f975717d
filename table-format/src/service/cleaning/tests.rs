//! Cleaning and savepoints on tables made of names: what a file holds does not matter to them.

mod crash;
mod incremental;
mod plans;
mod policies;
mod random;
mod savepoints;
mod table;
