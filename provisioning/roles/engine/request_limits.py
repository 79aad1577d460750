"""The plugins in vLLM that limit what one request may ask, and count its tokens; the variables that they and vLLM read.

Knows no adapters: their plugin is beside it (provisioning/roles/engine/adapters.py).
"""

from provisioning.converge.resources import File
from provisioning.programs import program
from provisioning.roles.host.layout import LIB_DIR
from serving.spec.models import ServingSpec

PLUGIN = "llm_deploy_limits"
PLUGIN_DIR = f"{LIB_DIR}/vllm-limits"
"""On the engine's PYTHONPATH. It looks like an installed distribution to Python, so that vLLM finds the plugins."""

RESPONSES_PLUGIN = "llm_deploy_responses"
TOKENS_PLUGIN = "llm_deploy_tokens"
PROGRAMS = {
    PLUGIN: "engine/vllm_limits",
    RESPONSES_PLUGIN: "engine/vllm_responses",
    TOKENS_PLUGIN: "engine/vllm_tokens",
}
"""The program of each plugin."""


def plugin_files() -> tuple[File, ...]:
    """Return the files of the plugins. A change of them restarts the engine."""
    metadata = f"{PLUGIN_DIR}/llm_deploy_limits-1.dist-info"
    return (
        *(File(path=f"{PLUGIN_DIR}/{plugin}.py", content=program(source)) for plugin, source in PROGRAMS.items()),
        File(path=f"{metadata}/METADATA", content="Metadata-Version: 2.1\nName: llm-deploy-limits\nVersion: 1\n"),
        File(
            path=f"{metadata}/entry_points.txt",
            content="[vllm.general_plugins]\n" + "".join(f"{plugin} = {plugin}:install\n" for plugin in PROGRAMS),
        ),
    )


def limits_environment(serving: ServingSpec, others: dict[str, str]) -> dict[str, str]:
    """Return `others` plus the variables that make vLLM load the plugins, and those that the plugins read."""
    spec = serving.vllm
    return {
        **others,
        "PYTHONPATH": ":".join(filter(None, (others.get("PYTHONPATH"), PLUGIN_DIR))),
        "VLLM_PLUGINS": ",".join(filter(None, (others.get("VLLM_PLUGINS"), *PROGRAMS))),
        "LLM_DEPLOY_BASE_MODEL": serving.model.name,
        "LLM_DEPLOY_MAX_ANSWERS": str(spec.max_answers),
        "LLM_DEPLOY_MAX_CONSTRAINT_BYTES": str(spec.max_constraint_kib * 1024),
    }
