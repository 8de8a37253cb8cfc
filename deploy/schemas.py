"""JSON schemas of what Ray's own check leaves open, and of the KubeRay objects used here.

Source of the names: EC2 RunInstances for ``node_config``; KubeRay's ray.io/v1 reference for RayJob.
They are closed: a field that we do not use yet is added here with its first use.
"""

from __future__ import annotations

from typing import Any


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean"}
_QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$"}

PROVIDER = _closed(
    ["type", "region"],
    type={"const": "aws"},
    region={"type": "string", "pattern": r"^[a-z]{2}(-[a-z]+)+-[0-9]$"},
    availability_zone=_TEXT,
    cache_stopped_nodes=_FLAG,
    use_internal_ips=_FLAG,
    security_group={"type": "object"},
)

NODE_CONFIG = _closed(
    ["InstanceType"],
    InstanceType={"type": "string", "pattern": r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$"},
    ImageId={"type": "string", "pattern": r"^ami-[0-9a-f]{8,17}$"},
    KeyName=_TEXT,
    SubnetIds={"type": "array", "items": _TEXT},
    SecurityGroupIds={"type": "array", "items": _TEXT},
    IamInstanceProfile={"type": "object", "minProperties": 1},
    BlockDeviceMappings={
        "type": "array",
        "items": _closed(
            ["DeviceName", "Ebs"],
            DeviceName={"type": "string", "pattern": "^/dev/"},
            Ebs=_closed(
                ["VolumeSize"],
                VolumeSize={"type": "integer", "minimum": 1},  # GiB
                VolumeType={"enum": ["gp2", "gp3", "io1", "io2"]},
                DeleteOnTermination=_FLAG,
            ),
        ),
    },
    InstanceMarketOptions=_closed(
        ["MarketType"], MarketType={"const": "spot"}, SpotOptions={"type": "object"}
    ),
)

_RESOURCES = {
    "type": "object",
    "required": ["cpu", "memory"],
    "additionalProperties": _QUANTITY,
}

_POD = _closed(
    ["spec"],
    metadata={"type": "object"},
    spec={
        "type": "object",
        "required": ["containers"],
        "properties": {
            "containers": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name", "image", "resources"],
                    "properties": {
                        "name": _TEXT,
                        "image": {
                            "type": "string",
                            "pattern": r"^[^\s:]+(:[0-9]+)?[^\s:]*:[^\s:]+$",
                        },
                        "resources": _closed(
                            ["requests", "limits"], requests=_RESOURCES, limits=_RESOURCES
                        ),
                    },
                },
            }
        },
    },
)

_PARAMS = {"type": "object", "additionalProperties": {"type": "string"}}

RAY_CLUSTER_SPEC = _closed(
    ["rayVersion", "headGroupSpec", "workerGroupSpecs"],
    rayVersion={"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
    enableInTreeAutoscaling=_FLAG,
    autoscalerOptions=_closed([], idleTimeoutSeconds=_COUNT),
    authOptions=_closed(["mode"], mode={"enum": ["token", "disabled"]}),
    headGroupSpec=_closed(["template"], rayStartParams=_PARAMS, template=_POD),
    workerGroupSpecs={
        "type": "array",
        "minItems": 1,
        "items": _closed(
            ["groupName", "replicas", "minReplicas", "maxReplicas", "template"],
            groupName={"type": "string", "pattern": r"^[a-z]([-a-z0-9]*[a-z0-9])?$"},
            replicas=_COUNT,
            minReplicas=_COUNT,
            maxReplicas=_COUNT,
            rayStartParams=_PARAMS,
            template=_POD,
        ),
    },
)

RAY_JOB = _closed(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata={
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "pattern": r"^[a-z]([-a-z0-9]{0,45}[a-z0-9])?$"}},
    },
    spec=_closed(
        ["entrypoint", "rayClusterSpec"],
        entrypoint=_TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode"]},
        backoffLimit=_COUNT,
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        shutdownAfterJobFinishes=_FLAG,
        ttlSecondsAfterFinished=_COUNT,
        rayClusterSpec=RAY_CLUSTER_SPEC,
    ),
)
