"""Map the repository's top-level folders onto subpackages of ``smartdeal``."""

from setuptools import find_packages, setup

ROOTS = ("golden", "compiler", "hw", "sim", "boards", "cli")

setup(
    package_dir={f"smartdeal.{root}": root for root in ROOTS},
    packages=[
        f"smartdeal.{name}"
        for root in ROOTS
        for name in find_packages(include=[root, f"{root}.*"])
    ],
)
