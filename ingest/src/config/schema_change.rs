//! What the pipeline does when source tables change: one of five behaviours for each kind of change.

/// What happens when a source table changes. The names are Flink CDC's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaChangeBehavior {
    /// The lake table changes in the same way; a change that it cannot make stops the pipeline.
    Evolve,
    /// As `Evolve` where the lake can; what it cannot is handled as well as possible, and logged.
    TryEvolve,
    /// Nothing is taken away from the lake: dropped columns stay, a renamed column is a new one beside the old.
    Lenient,
    /// The lake table stays as it is.
    Ignore,
    /// The pipeline stops.
    Exception,
}

/// The kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaChangeKind {
    /// ALTER TABLE … ADD COLUMN.
    AddColumn,
    /// A column of another type.
    AlterColumnType,
    /// CREATE TABLE of a name that `source.tables` matches.
    CreateTable,
    /// ALTER TABLE … DROP COLUMN.
    DropColumn,
    /// DROP TABLE, or renamed away.
    DropTable,
    /// A column of another name.
    RenameColumn,
    /// TRUNCATE TABLE, or dropped and created anew.
    TruncateTable,
}

impl SchemaChangeKind {
    /// All of them, with the names of the pipeline file.
    pub const ALL: [(&'static str, Self); 7] = [
        ("add.column", Self::AddColumn),
        ("alter.column.type", Self::AlterColumnType),
        ("create.table", Self::CreateTable),
        ("drop.column", Self::DropColumn),
        ("drop.table", Self::DropTable),
        ("rename.column", Self::RenameColumn),
        ("truncate.table", Self::TruncateTable),
    ];

    /// The name in the pipeline file.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }
}

/// The behaviour for each kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaChangeBehaviors([SchemaChangeBehavior; SchemaChangeKind::ALL.len()]);

impl Default for SchemaChangeBehaviors {
    /// `lenient`, but a TRUNCATE stops the pipeline: whether the lake is to lose its rows is for the user to say.
    fn default() -> Self {
        let mut behaviors = Self::all(SchemaChangeBehavior::Lenient);
        behaviors.set(
            SchemaChangeKind::TruncateTable,
            SchemaChangeBehavior::Exception,
        );
        behaviors
    }
}

impl SchemaChangeBehaviors {
    /// The same for every kind.
    pub fn all(behavior: SchemaChangeBehavior) -> Self {
        Self([behavior; SchemaChangeKind::ALL.len()])
    }

    /// Chooses the behaviour of one kind.
    pub fn set(&mut self, kind: SchemaChangeKind, behavior: SchemaChangeBehavior) {
        self.0[kind as usize] = behavior;
    }

    /// The behaviour of one kind.
    pub fn of(&self, kind: SchemaChangeKind) -> SchemaChangeBehavior {
        self.0[kind as usize]
    }
}
