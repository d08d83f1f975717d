//! Window by window, a log file has the blocks that it has as a whole.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::{Strategy, prop, prop_oneof, proptest};

use super::*;
use crate::codec::log_block::{BlockKind, DataBlockBuilder, encode_rollback_block};

/// A piece of a log file.
#[derive(Debug, Clone)]
enum Piece {
    /// A data block with a record of so many bytes.
    Data(usize),
    Rollback,
    /// A data block of which the end is missing.
    Torn(usize),
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        3 => (0_usize..300).prop_map(Piece::Data),
        1 => prop::strategy::Just(Piece::Rollback),
        1 => (1_usize..60).prop_map(Piece::Torn),
    ]
}

fn bytes_of(pieces: &[Piece]) -> Bytes {
    let mut file = Vec::new();
    for piece in pieces {
        let data = |length: usize| {
            let mut block = DataBlockBuilder::try_new("20260101000000000", "\"bytes\"").unwrap();
            let record = vec![7_u8; length];
            block
                .append(|out| {
                    out.extend_from_slice(&record);
                    Ok(())
                })
                .unwrap();
            block.finish().unwrap()
        };
        match piece {
            Piece::Data(length) => file.extend(data(*length)),
            Piece::Rollback => {
                file.extend(
                    encode_rollback_block("20260101000000001", "20260101000000000").unwrap(),
                );
            }
            Piece::Torn(missing) => {
                let block = data(80);
                file.extend_from_slice(&block[..block.len() - missing]);
            }
        }
    }
    file.into()
}

async fn in_windows(file: &Bytes, window_bytes: u64) -> Result<Vec<LogBlock>> {
    let storage = Storage::with_store(Arc::new(InMemory::new()), Path::default(), "memory");
    storage.create("log", file.clone()).await.unwrap();
    let files = LogFiles {
        storage,
        memory: MemoryBudget::new(1 << 20),
        files: vec![("log".to_owned(), file.len() as u64)],
        keeps_contents: false,
        window_bytes,
    };
    let (blocks, _) = files.scan().await?;
    let mut whole = Vec::new();
    for (path, block) in blocks {
        assert!(block.content.is_empty(), "a content was kept");
        whole.push(if block.kind == BlockKind::Corrupt {
            block
        } else {
            files.with_content(&path, block).await?
        });
    }
    Ok(whole)
}

proptest! {
    #[test]
    fn windows_show_the_blocks_of_the_whole(
        pieces in prop::collection::vec(piece(), 0..8),
        window_bytes in 40_u64..900,
    ) {
        let file = bytes_of(&pieces);
        let whole: Result<Vec<LogBlock>> = LogBlockReader::new(file.clone()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(in_windows(&file, window_bytes));
        match (whole, found) {
            (Ok(mut whole), Ok(found)) => {
                for block in &mut whole {
                    if block.kind == BlockKind::Corrupt {
                        block.content = Bytes::new();
                    }
                }
                assert_eq!(whole, found);
            }
            (Err(_), Err(_)) => {}
            (whole, found) => panic!("whole: {whole:?}, in windows: {found:?}"),
        }
    }
}

#[tokio::test]
async fn a_window_holds_one_block_of_a_large_file() {
    let file = bytes_of(&vec![Piece::Data(1 << 16); 100]);
    let storage = Storage::with_store(Arc::new(InMemory::new()), Path::default(), "memory");
    storage.create("log", file.clone()).await.unwrap();
    let memory = MemoryBudget::new(1 << 20);
    let files = LogFiles {
        storage,
        memory: memory.clone(),
        files: vec![("log".to_owned(), file.len() as u64)],
        keeps_contents: false,
        window_bytes: 1 << 10,
    };
    assert_eq!(files.scan().await.unwrap().0.len(), 100);
    assert!(memory.peak_bytes() < 80 << 10, "{}", memory.peak_bytes());
    assert_eq!(memory.used_bytes(), 0);
}
