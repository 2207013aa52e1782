"""How fast devices read their memory, as their makers publish it.

In: nothing. Out: a table of devices. None of them was measured here: a published bandwidth is what
the memory's wires carry at most, and programs reach less.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """bits, gbit_per_pin: width of the memory's bus, and Gbit/s of each of its wires.

    published: GB/s as the maker writes it, rounded or not. document: of the maker, by name, because
    makers move their documents.
    """

    name: str
    bits: int
    gbit_per_pin: float
    published: float
    document: str

    @property
    def bytes_per_second(self) -> float:
        """The published bandwidth."""
        return self.published * 1e9


_ADA = "NVIDIA Ada GPU Architecture (white paper)"

DEVICES = (
    Device(
        "Raspberry Pi 5",
        *(32, 4.267, 17.1),
        document="Raspberry Pi 5 product brief: LPDDR4X-4267, 32 bit",
    ),
    Device(
        "Jetson Orin Nano 4 GB",
        *(64, 4.267, 34.0),
        document="NVIDIA Jetson Orin Nano Series Data Sheet",
    ),
    Device(
        "Jetson Orin Nano 4 GB, MAXN SUPER",
        *(64, 6.4, 51.0),
        document="NVIDIA Jetson Orin Nano Series Data Sheet, modules with JetPack 6.2",
    ),
    Device(
        "Jetson Orin Nano 8 GB",
        *(128, 4.267, 68.0),
        document="NVIDIA Jetson Orin Nano Series Data Sheet",
    ),
    Device(
        "Jetson Orin Nano 8 GB, MAXN SUPER",
        *(128, 6.4, 102.0),
        document="NVIDIA Jetson Orin Nano Super Developer Kit Datasheet",
    ),
    Device(
        "Jetson Orin NX 16 GB",
        *(128, 6.4, 102.4),
        document="NVIDIA Jetson Orin NX Series Modules Data Sheet, DS-10712-001",
    ),
    Device(
        "Jetson AGX Orin 32, 64 GB",
        *(256, 6.4, 204.8),
        document="NVIDIA Jetson AGX Orin Series Modules Data Sheet, DS-10662-001",
    ),
    Device(
        "Jetson Thor (T5000)",
        *(256, 8.533, 273.0),
        document="NVIDIA Jetson Thor Series Modules Data Sheet",
    ),
    Device(
        "DGX Spark",
        *(256, 8.533, 273.0),
        document="NVIDIA DGX Spark Datasheet",
    ),
    Device(
        "RTX 4060 Laptop",
        *(128, 16.0, 256.0),
        document="NVIDIA GeForce laptops, comparison (width); memory of 16 Gbit/s",
    ),
    Device(
        "RTX 4060",
        *(128, 17.0, 272.0),
        document="NVIDIA GeForce RTX 4060, specifications",
    ),
    Device(
        "L4",
        *(192, 12.5, 300.0),
        document="NVIDIA L4 Tensor Core GPU Datasheet",
    ),
    Device(
        "RTX 4090",
        *(384, 21.0, 1008.0),
        document=_ADA,
    ),
    Device(
        "RTX 5090",
        *(512, 28.0, 1792.0),
        document="NVIDIA RTX Blackwell GPU Architecture (white paper)",
    ),
    Device(
        "H200",
        *(6144, 6.25, 4800.0),
        document="NVIDIA H200 Tensor Core GPU Datasheet",
    ),
)
