"""What a dry run assumes: which accelerator, how well it is used, how long texts are. Makers' data sheets, dense, no sparsity."""

from dataclasses import dataclass

from tracer1.errors import ConfigError
from tracer1.registry import nearest


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator."""

    name: str
    memory: float  # bytes
    bandwidth: float  # bytes per second
    bf16: float  # operations per second
    fp32: float  # operations per second, PyTorch's default: no TF32
    link: float  # bytes per second in each direction to the other GPUs of its machine: NVLink, or else PCIe
    host: float  # bytes per second in each direction to main memory: PCIe, 16 lanes


GIB = 2**30
DEVICES = {
    "h200": Device("H200 SXM", 141e9, 4.8e12, 989e12, 67e12, 450e9, 64e9),
    "h100": Device("H100 SXM 80 GB", 80e9, 3.35e12, 989e12, 67e12, 450e9, 64e9),
    "a100": Device("A100 SXM 80 GB", 80e9, 2.04e12, 312e12, 19.5e12, 300e9, 32e9),
    "l40s": Device("L40S 48 GB", 48e9, 0.864e12, 362e12, 91.6e12, 32e9, 32e9),
}


def find_device(name: str) -> Device:
    """The device called `name`; raises ConfigError for one that is not in the table."""
    if name not in DEVICES:
        raise ConfigError(
            f"assume.device={name} is not in the table.{nearest(str(name), list(DEVICES))} Known: {', '.join(DEVICES)}."
        )
    return DEVICES[name]


@dataclass(frozen=True, slots=True)
class Assumed:
    """The config's group `assume`, with what it left open filled in."""

    device: Device
    mfu: float  # share of the device's operations that passes reach
    bandwidth: float  # share of the device's bandwidth that sampling reaches
    screenshot: tuple[int, int]  # width, height in pixels
    text_tokens: int  # of a prompt without its picture
    response_tokens: int
    network: float  # bytes per second and GPU in each direction to other machines
    link_share: float  # share of all links' speed that exchanges reach
    price: float | None  # of an hour of one GPU, in any currency
