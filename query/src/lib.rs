//! Shows Hudi tables to DataFusion.
