import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).parent
configs = sorted(file.name for file in (here / "configs").glob("*.yaml"))


class BuildWithConfigs(build_py):
    """Copy the top-level folder `configs` into the package of a wheel; a source distribution keeps it at the top level."""

    def finalize_options(self):
        super().finalize_options()
        self.data_files.append(("kgan", "configs", str(Path(self.build_lib, "kgan", "configs")), configs))

    def get_source_files(self):
        return [*super().get_source_files(), *(f"configs/{name}" for name in configs)]


setup(
    cmdclass={"build_py": BuildWithConfigs},
    name="kgan",
    version=re.search(r'__version__ = "(.+)"', (here / "kgan/__init__.py").read_text(encoding="utf-8"))[1],
    description="GANs that synthesise sounds, on Keras 3 and TensorFlow",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["kgan", "kgan.*"]),
    package_dir={"": "."},  # lets an editable install take precedence over a folder `kgan` in the working directory
    package_data={"kgan.serving": ["docker/*"], "kgan.demo": ["page/*"]},
    install_requires=[
        "tensorflow>=2.18,<2.22",
        "keras>=3.8,<4",
        "tensorflow-datasets>=4.9.4",
        'tensorflow-io>=0.37; sys_platform != "win32" and python_version < "3.13"',  # only where it has wheels
        "numpy>=1.26",
        "librosa>=0.10.2",
        "scipy>=1.11",
        "scikit-learn>=1.3",
        "soundfile>=0.12",
        "av>=17.1,<19",  # decoders of FFmpeg
        "soxr>=0.3.2",
        "matplotlib>=3.8",
        "tensorboard",
        "pydantic>=2.5,<3",
        "pyyaml>=6",
        "tqdm>=4.60",
        "requests>=2.28",
        "joblib>=1.3",
        "platformdirs>=3",
        "filelock>=3.10",
        "psutil>=5.9",
        # For the built-in notes: a SoundFont, MIDI files, and a renderer, which has no wheel for ARM on Linux and Windows.
        "pretty_midi>=0.2.10",
        "mido>=1.3",
        'midirenderer>=0.1.3; platform_machine == "x86_64" or platform_machine == "AMD64"'
        ' or (sys_platform == "darwin" and platform_machine == "arm64")',
    ],
    extras_require={
        "beam": ["apache-beam>=2.60", "universal-pathlib>=0.2.2"],
        "benchmark": ["torch>=2.4"],
        "cuda": ["tensorflow[and-cuda]>=2.18,<2.22"],
        "demo": ["starlette>=1", "uvicorn>=0.29"],
        "docs": ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"],
        "litert": ["ai-edge-litert>=2"],
        "onnx": ["tf2onnx>=1.16", "onnxruntime>=1.17"],
        "serve": ["tensorflow-serving-api>=2.18,<2.22"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "ruff>=0.15,<0.16",
            "nbclient>=0.10",
            "nbformat>=5",
            "ipykernel>=6",
            "apache-beam>=2.60",
            "universal-pathlib>=0.2.2",
            "tensorflow-serving-api>=2.18,<2.22",
            "tf2onnx>=1.16",
            "onnxruntime>=1.17",
            "openvino>=2025",
            "ai-edge-litert>=2",
            "starlette>=1",
            "uvicorn>=0.29",
            "playwright>=1.45",
            "mkdocs-material>=9.5",
            "mkdocstrings[python]>=0.26",
        ],
    },
    entry_points={"console_scripts": ["kgan = kgan.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Sound Synthesis",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
