from hypothesis import given
from hypothesis import strategies as st

from pcc.training.batches import Batches, loader_processes


@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 4), st.data())
def test_a_run_taken_up_sees_the_batches_that_were_left(
    count: int, batch_size: int, epochs: int, data: st.DataObject
) -> None:
    whole = list(Batches(count, batch_size, epochs, "seed"))
    start = data.draw(st.integers(0, len(whole)))
    rest = Batches(count, batch_size, epochs, "seed", start)
    assert list(rest) == whole[start:] and len(rest) == len(whole) - start


@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 4))
def test_an_epoch_sees_no_sample_twice_and_all_but_the_incomplete_batch(
    count: int, batch_size: int, epochs: int
) -> None:
    batches = list(Batches(count, batch_size, epochs, "seed"))
    size = min(batch_size, count)
    assert {len(batch) for batch in batches} == {size}
    for epoch in range(epochs):
        seen = [index for batch in batches for e, index in batch if e == epoch]
        assert len(seen) == len(set(seen)) == count // size * size


def test_seeds_and_epochs_have_orders_of_their_own() -> None:
    orders = {str([[i for _, i in batch] for batch in Batches(20, 20, 1, seed)]) for seed in "abc"}
    one, two = Batches(20, 20, 2, "a")
    assert len(orders) == 3 and [i for _, i in one] != [i for _, i in two]


def test_one_core_is_the_trainings() -> None:
    assert [loader_processes(threads) for threads in (1, 2, 4, 16)] == [0, 2, 4, 4]
