"""Task bundles for MediaPipe, built in memory from the published model files."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import flatbuffers
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata_schema
from mediapipe.tasks.metadata import schema_py_generated as model_schema

from worker import weights

_ALIGNMENT = 64
"""Each member of a bundle starts at a multiple of this many bytes: MediaPipe maps the members into memory."""

_LOCAL_HEADER = 30
"""Bytes of a zip member's header before its name."""

_EXTRA_FIELD_HEADER = 4
"""Bytes of a zip extra field before its data: the kind and the length."""

_METADATA_NAME = "TFLITE_METADATA"

_MODEL_IDENTIFIER, _METADATA_IDENTIFIER = b"TFL3", b"M001"
"""File identifiers of the two flatbuffers."""

_INITIAL_METADATA_SIZE = 1024  # bytes; the buffer grows if needed


def pose_bundle(models_dir: Path) -> bytes:
    """Return the bundle for PoseLandmarker. Raises WeightsMissingError."""
    return _bundle(
        {
            "pose_detector.tflite": weights.path("pose_detection", models_dir).read_bytes(),
            # The published landmark model lacks the normalisation of its input, which a task's model needs.
            "pose_landmarks_detector.tflite": _with_normalization(
                weights.path("pose_landmark", models_dir).read_bytes(), mean=0, std=255
            ),
        }
    )


def hand_bundle(models_dir: Path) -> bytes:
    """Return the bundle for HandLandmarker. Raises WeightsMissingError."""
    return _bundle(
        {
            "hand_detector.tflite": weights.path("palm_detection", models_dir).read_bytes(),
            "hand_landmarks_detector.tflite": weights.path("hand_landmark", models_dir).read_bytes(),
        }
    )


def _bundle(members: Mapping[str, bytes]) -> bytes:
    """Return a zip archive of uncompressed, aligned members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            header = buffer.tell() + _LOCAL_HEADER + len(name)
            # An extra field of zeros, of a private kind, pads the header.
            padding = -(header + _EXTRA_FIELD_HEADER) % _ALIGNMENT
            info.extra = b"\xff\xff" + padding.to_bytes(2, "little") + bytes(padding)
            archive.writestr(info, data)
    return buffer.getvalue()


def _with_normalization(model: bytes, *, mean: float, std: float) -> bytes:
    """Return the TFLite model with metadata that declares its input as (x - mean) / std."""
    graph = model_schema.ModelT.InitFromObj(model_schema.Model.GetRootAsModel(model, 0))
    buffer = model_schema.BufferT()
    buffer.data = _metadata(graph, mean, std)
    entry = model_schema.MetadataT()
    entry.name = _METADATA_NAME
    entry.buffer = len(graph.buffers)
    graph.buffers.append(buffer)
    graph.metadata = [*(graph.metadata or []), entry]
    builder = flatbuffers.Builder(len(model))
    builder.Finish(graph.Pack(builder), _MODEL_IDENTIFIER)
    return bytes(builder.Output())


def _metadata(graph: model_schema.ModelT, mean: float, std: float) -> bytes:
    options = metadata_schema.NormalizationOptionsT()
    options.mean, options.std = [mean], [std]
    unit = metadata_schema.ProcessUnitT()
    unit.optionsType = metadata_schema.ProcessUnitOptions.NormalizationOptions
    unit.options = options

    image = metadata_schema.TensorMetadataT()
    image.name = "image"
    image.processUnits = [unit]
    image.content = metadata_schema.ContentT()
    image.content.contentPropertiesType = metadata_schema.ContentProperties.ImageProperties
    image.content.contentProperties = metadata_schema.ImagePropertiesT()
    image.content.contentProperties.colorSpace = metadata_schema.ColorSpaceType.RGB

    subgraph = metadata_schema.SubGraphMetadataT()
    subgraph.inputTensorMetadata = [image]
    subgraph.outputTensorMetadata = [metadata_schema.TensorMetadataT() for _ in graph.subgraphs[0].outputs]
    document = metadata_schema.ModelMetadataT()
    document.subgraphMetadata = [subgraph]
    builder = flatbuffers.Builder(_INITIAL_METADATA_SIZE)
    builder.Finish(document.Pack(builder), _METADATA_IDENTIFIER)
    return bytes(builder.Output())
