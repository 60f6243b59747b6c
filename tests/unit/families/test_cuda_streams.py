"""Who has a stream and who may launch on it. They are faked: to take turns no GPU is needed."""

import threading
from types import SimpleNamespace

import pytest
import torch

from app.families import cuda_streams
from app.families.cuda_streams import launching


@pytest.fixture
def on_stream(monkeypatch: pytest.MonkeyPatch) -> threading.local:
    """The `number` of the stream on which each thread launches."""
    current = threading.local()
    device = SimpleNamespace(index=0)
    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda _: SimpleNamespace(device=device, cuda_stream=current.number)
    )
    return current


def gets_in(on_stream: threading.local, number: int, within_s: float) -> bool:
    """True if another thread may launch on that stream by then."""
    entered = threading.Event()

    def launch() -> None:
        on_stream.number = number
        with launching("cuda"):
            entered.set()

    threading.Thread(target=launch, daemon=True).start()
    return entered.wait(within_s)


def test_one_thread_at_a_time_launches_on_a_stream(on_stream: threading.local) -> None:
    on_stream.number = 7
    with launching("cuda"):
        assert not gets_in(on_stream, 7, within_s=0.2)
        assert gets_in(on_stream, 8, within_s=30)
    assert gets_in(on_stream, 7, within_s=30)


def test_a_failed_launch_lets_the_next_one_in(on_stream: threading.local) -> None:
    on_stream.number = 9
    with pytest.raises(RuntimeError), launching("cuda"):
        raise RuntimeError
    assert gets_in(on_stream, 9, within_s=30)


def test_on_a_cpu_nobody_waits() -> None:
    with launching("cpu"), launching("cpu"):
        pass


def test_a_stream_has_one_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    class Made:
        def __init__(self, device: torch.device, priority: int) -> None:
            self.device, self.priority = device, priority

    monkeypatch.setattr(torch.cuda, "Stream", Made)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for store in ("_free", "_n_made"):
        monkeypatch.setattr(cuda_streams, store, type(getattr(cuda_streams, store))(list if store == "_free" else None))
    taken = [cuda_streams.take("cuda", -1) for _ in range(cuda_streams.MOST)]
    assert len(set(map(id, taken))) == cuda_streams.MOST
    assert cuda_streams.take("cuda:0", -1) is None
    other_kinds = [cuda_streams.take("cuda", 0), cuda_streams.take("cuda:1", -1)]
    assert None not in other_kinds
    assert taken[3] is not None
    cuda_streams.give_back(taken[3])
    assert cuda_streams.take("cuda:0", -1) is taken[3]
