//! Sorting in memory and by way of the disk gives the same rows in the same order.

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::*;

/// Rows of a number, a text, and their place.
fn rows(values: &[(Option<i64>, String)], first: usize) -> RecordBatch {
    let numbers: Int64Array = values.iter().map(|(number, _)| *number).collect();
    let texts: StringArray = values.iter().map(|(_, text)| Some(text.as_str())).collect();
    let places: Int64Array = (first..first + values.len())
        .map(|place| i64::try_from(place).ok())
        .collect();
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("n", Arc::new(numbers), true),
        ("t", Arc::new(texts), true),
        ("place", Arc::new(places), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn sorted_places(
    values: &[(Option<i64>, String)],
    batch_rows: usize,
    run_bytes: u64,
    layout: Layout,
) -> Vec<i64> {
    let columns = ["n".to_owned(), "t".to_owned()];
    let schema = rows(&[], 0).schema();
    let key = Arc::new(SortKey::try_new(&schema, &columns, layout).unwrap());
    let budget = MemoryBudget::new(1 << 20);
    let mut sorter = Sorter::new(key, &std::env::temp_dir(), &budget, run_bytes);
    for (number, chunk) in values.chunks(batch_rows).enumerate() {
        sorter = sorter.push(rows(chunk, number * batch_rows)).unwrap();
    }
    let mut sorted = sorter.finish().unwrap();
    let mut places = Vec::new();
    while let Some(batch) = sorted.next().unwrap() {
        let column = batch.column(2).as_primitive::<Int64Type>();
        places.extend(column.values());
    }
    drop(sorted);
    assert_eq!(budget.used_bytes(), 0);
    places
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn runs_on_disk_change_nothing(
        values in prop::collection::vec((prop::option::weighted(0.9, -9_i64..9), "[ab]{0,2}"), 0..400),
        batch_rows in 1_usize..40,
    ) {
        for layout in [Layout::Linear, Layout::ZOrder] {
            let in_memory = sorted_places(&values, batch_rows, u64::MAX, layout);
            let on_disk = sorted_places(&values, batch_rows, 1, layout);
            prop_assert_eq!(&in_memory, &on_disk);
            if layout == Layout::Linear {
                let mut expected: Vec<i64> = (0..values.len() as i64).collect();
                expected.sort_by_key(|place| values[*place as usize].clone());
                prop_assert_eq!(in_memory, expected);
            }
        }
    }
}

#[test]
fn columns_that_are_not_there_or_have_no_order_are_refused() {
    let schema = rows(&[], 0).schema();
    let error = SortKey::try_new(&schema, &["x".to_owned()], Layout::Linear).unwrap_err();
    assert!(error.to_string().contains("`x`"), "{error}");
}
