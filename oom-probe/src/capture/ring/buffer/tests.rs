use std::thread;

use super::*;

#[test]
fn records_come_whole_and_in_order_and_stay_until_they_are_released() {
    // It wraps around within the first record.
    let (mut ring, kernel) = Ring::made(7, 64, 40);
    kernel.write(b"first, wrapped");
    kernel.write(b"second");
    let item = ring.next().unwrap();
    assert_eq!(
        (item.bytes, item.ring, item.read),
        (&b"first, wrapped"[..], 7, 64)
    );
    assert_eq!(ring.next().unwrap().bytes, b"second");
    assert!(ring.next().is_none());
    assert_eq!((ring.kept(), ring.unread()), (40, 0));

    assert_eq!(kernel.reserve(24), None, "nothing was released");
    ring.settle();
    ring.release();
    kernel.write(b"third");
    assert_eq!(ring.next().unwrap().bytes, b"third");
}

#[test]
fn what_is_still_being_written_is_waited_for_and_what_is_discarded_left_out() {
    let (mut ring, kernel) = Ring::made(1, 256, 0);
    let slow = kernel.reserve(4).unwrap();
    kernel.write(b"behind");
    assert!(ring.next().is_none() && !ring.is_ready() && ring.is_unfinished());
    kernel.commit(slow, b"slow");
    assert_eq!(ring.next().unwrap().bytes, b"slow");
    assert_eq!(ring.next().unwrap().bytes, b"behind");
    let none = kernel.reserve(4).unwrap();
    kernel.write(b"last");
    kernel.discard(none);
    assert_eq!(ring.next().unwrap().bytes, b"last");
}

#[test]
fn a_record_that_is_not_finished_can_be_left_out() {
    let (mut ring, kernel) = Ring::made(1, 256, 0);
    assert!(!ring.skip_unfinished());
    kernel.reserve(4).unwrap();
    kernel.write(b"behind");
    assert!(ring.skip_unfinished());
    assert!(!ring.skip_unfinished());
    assert_eq!(ring.next().unwrap().bytes, b"behind");
}

#[test]
fn a_length_that_cannot_be_empties_the_ring_and_no_more() {
    let (mut ring, kernel) = Ring::made(1, 64, 0);
    let position = kernel.reserve(8).unwrap();
    kernel.commit(position, &[0; 8]);
    let head = kernel.head(position);
    head.store(60, std::sync::atomic::Ordering::SeqCst);
    assert!(ring.next().is_none());
    assert_eq!(ring.unread(), 0);
}

#[test]
fn positions_that_cannot_be_are_refused() {
    let refused = |size, position| {
        let made = std::panic::catch_unwind(|| Ring::made(1, size, position));
        made.is_err()
    };
    assert!(!refused(64, usize::MAX - 63), "positions may overflow");
    assert!(refused(64, 4) && refused(96, 0));
}

/// Under Miri this is what shows whether the orderings suffice.
#[test]
fn a_reader_beside_the_writer_sees_every_record_as_it_was_written() {
    const RECORDS: u8 = 40;
    // Headers always come to lie in the same places: a word that is now a header and now data is
    // more than Miri can follow.
    let len = |n: u8| usize::from(n % 8) + 17;
    // Positions overflow in the middle.
    let (mut ring, kernel) = Ring::made(1, 128, usize::MAX - 255);
    let writer = thread::spawn(move || {
        // The struct as a whole may be sent, its fields may not.
        let kernel = kernel;
        for n in 0..RECORDS {
            let position = loop {
                match kernel.reserve(len(n)) {
                    Some(position) => break position,
                    None => thread::yield_now(),
                }
            };
            kernel.commit(position, &vec![n; len(n)]);
        }
    });
    for n in 0..RECORDS {
        loop {
            if let Some(item) = ring.next() {
                assert_eq!(item.bytes, vec![n; len(n)]);
                break;
            }
            thread::yield_now();
        }
        ring.settle();
        ring.release();
    }
    writer.join().unwrap();
}
