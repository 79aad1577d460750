# The commands of this repository. `make` lists them; each one runs a program.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

STACK ?= local
CLOUD ?=
INVENTORY ?=
HOST ?=
ENGINE ?=
DO ?= list
CLIENT ?=
PROVIDER ?=
Q ?=
ARGS ?=

PYTHON := .venv/bin/python
INFRA := $(PYTHON) -m infra.lifecycle.commands
FAB := $(PYTHON) -m provisioning
# The hosts of a fab task: those of INVENTORY (docs/inventory.md), else those of STACK; HOST selects some of them.
HOSTS = $(if $(INVENTORY),--inventory $(INVENTORY),--stack $(STACK))$(foreach host,$(HOST), --host $(host))
# The stack of deploy-KIND: the one that this repository has for CLOUD, else STACK.
stack_of_kind = $(if $(CLOUD),$(CLOUD)-$(1),$(STACK))
# Keep compiled modules, even if the shell turns that off: the clouds' SDKs take seconds to compile.
unexport PYTHONDONTWRITEBYTECODE
# Test files run in parallel, one per core; WORKERS= runs them one after the other. `test` runs two more, as tests with
# machines spend much of their time waiting.
WORKERS ?= --numprocesses=$(shell expr $$(nproc) + $(if $(filter test,$@),2,0)) --dist=loadgroup --no-loadscope-reorder
# All steps of one `make` write their results to the same run folder.
export LLM_DEPLOY_RUN ?= $(shell date -u +%Y%m%dT%H%M%S.%3NZ)

TARGETS := help setup ask demo deploy deploy-cpu deploy-gpu deploy-gpu-spot preflight preview up plan provision smoke refresh \
	down orphans leftovers adopt bundle status top spend dashboards adapters logs ssh restart reboot upgrade-engine rotate-key \
	test test-unit fuzz check format bench-start bench-preview bench-up-down bench-converge bench-gateway \
	bench-watcher
.PHONY: $(TARGETS)

# Reject what a target does not use (tools/make_variables.py) before anything runs.
quoted = '$(subst ','\'',$(1))'
typed = $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(call quoted,$(name)=$(if $(filter Q,$(name)),$(value Q),$($(name))))))
system_python = python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null && echo python3
any_python = $$(command -v $(PYTHON) || { $(system_python); } || { tools/bootstrap.sh >&2; echo $(PYTHON); })
goals = $(foreach goal,$(MAKECMDGOALS),$(call quoted,$(goal)))
check_variables = $(shell "$(any_python)" -IS tools/make_variables.py $(goals) $(typed) || exit 1)
refusal := $(if $(filter-out help,$(MAKECMDGOALS)),$(check_variables))
$(if $(refusal)$(filter-out 0,$(.SHELLSTATUS)),$(error $(or $(refusal),tools/make_variables.py failed)))

# `make ask "…"`: the words after `ask` are the question, not targets. Nothing in a question is expanded or run.
unexport Q
ifeq (ask,$(firstword $(MAKECMDGOALS)))
MAKEFLAGS += --silent
export LLM_QUESTION := $(or $(value Q),$(wordlist 2,$(words $(MAKECMDGOALS)),$(value MAKECMDGOALS)))
.DEFAULT: ; @:
endif

help: ## Show this list
	@sed -nE -e 's/^##@ (.*)/\n\1/p' -e 's/^([a-z][a-z-]*):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18
	@printf '\nSTACK=%s selects the stack (stacks/Pulumi.<stack>.yaml); ARGS="…" passes options to the command.\n' '$(STACK)'

##@ The main job
demo: .venv/.ready ## Create a machine here, serve a model with two adapters, test it, remove it (ENGINE=vllm|ollama)
	@$(PYTHON) -m tools.demo $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

deploy-cpu: .venv/.ready ## Deploy a CPU stack: up, provision, smoke (CLOUD=aws|gcp, or STACK)
	@$(PYTHON) -m infra.lifecycle.preflight.expect_kind cpu --stack $(call stack_of_kind,cpu)
	@$(MAKE) deploy CLOUD= STACK=$(call stack_of_kind,cpu)

deploy-gpu: .venv/.ready ## Deploy a GPU stack (CLOUD=aws|gcp)
	@$(PYTHON) -m infra.lifecycle.preflight.expect_kind gpu --stack $(call stack_of_kind,gpu)
	@$(MAKE) deploy CLOUD= STACK=$(call stack_of_kind,gpu)

deploy-gpu-spot: .venv/.ready ## Deploy a GPU stack on the spot market (CLOUD=aws|gcp)
	@$(PYTHON) -m infra.lifecycle.preflight.expect_kind gpu-spot --stack $(call stack_of_kind,gpu-spot)
	@$(MAKE) deploy CLOUD= STACK=$(call stack_of_kind,gpu-spot)

deploy: .venv/.ready ## Deploy any STACK
	@$(MAKE) up STACK=$(STACK)
	@$(MAKE) provision STACK=$(STACK)
	@$(MAKE) smoke STACK=$(STACK)

##@ Step by step
preflight: .venv/.ready ## Check login, quotas, machine types, image and price in the cloud
	@$(PYTHON) -m infra.lifecycle.preflight.command --stack $(STACK) $(ARGS)

preview: .venv/.ready ## Show what `up` would create, change or remove
	@$(INFRA) preview --stack $(STACK) $(ARGS)

up: .venv/.ready ## Create the machines of STACK
	@$(INFRA) up --stack $(STACK) $(ARGS)

plan: .venv/.ready ## Show what `provision` would change on the hosts, with diffs
	@$(FAB) plan $(HOSTS) $(ARGS)

provision: .venv/.ready ## Install engine, models and gateway on the hosts; safe to repeat
	@$(FAB) provision $(HOSTS) $(ARGS)

smoke: .venv/.ready ## Test that the endpoint answers, that it rejects clients without a key, and that GPUs compute
	@$(FAB) smoke $(HOSTS) $(ARGS)

refresh: .venv/.ready ## Read the machines of STACK from the cloud and update the state
	@$(INFRA) refresh --stack $(STACK) $(ARGS)

down: .venv/.ready ## Destroy STACK and confirm that nothing remains
	@$(INFRA) down --stack $(STACK) $(ARGS)

orphans: .venv/.ready ## List our resources in all regions of CLOUD; ARGS=--delete removes orphans, after asking
	@$(PYTHON) -m infra.lifecycle.orphans.command --cloud $(CLOUD) $(ARGS)

# The name before 0.2.0. Remove it in 0.3.0.
leftovers:
	@echo 'make leftovers CLOUD=$(CLOUD) is called make orphans CLOUD=$(CLOUD) now; 0.3.0 removes the old name' >&2
	@$(MAKE) orphans

##@ Hosts that exist already
adopt: .venv/.ready ## Inspect HOST=user@address and write its inventory (docs/existing-hosts.md)
	@$(FAB) adopt --host "$(HOST)" $(if $(INVENTORY),--inventory $(INVENTORY)) $(ARGS)

bundle: .venv/.ready ## Make an archive that provisions the hosts of STACK without network (docs/offline.md)
	@$(FAB) bundle $(HOSTS) $(ARGS)

##@ Everyday
status: .venv/.ready ## Show one screen per host: engine, models, certificate, disk, memory
	@$(FAB) status $(HOSTS) $(ARGS)

top: .venv/.ready ## Show requests, queue, tokens a second and errors, live (ARGS="--once --json")
	@$(FAB) top $(HOSTS) $(ARGS)

spend: .venv/.ready ## Show what providers cost, by day, provider and client (ARGS=--json)
	@$(FAB) spend $(HOSTS) $(ARGS)

adapters: .venv/.ready ## Manage adapter versions: DO=list|plan|apply|prune, DO=entry ARGS=FOLDER, DO=promote ARGS=contract@4, DO=rollback ARGS=contract
	@$(FAB) adapters:$(DO) $(HOSTS) $(ARGS)

logs: .venv/.ready ## Show the journal of engine and gateway
	@$(FAB) logs $(HOSTS) $(ARGS)

ssh: .venv/.ready ## Open a shell on a host (HOST=name if there are several)
	@$(FAB) ssh $(HOSTS) $(ARGS)

restart: .venv/.ready ## Restart the engine; running requests finish first
	@$(FAB) restart $(HOSTS) $(ARGS)

reboot: .venv/.ready ## Reboot the hosts and wait until they serve again
	@$(FAB) reboot $(HOSTS) $(ARGS)

upgrade-engine: .venv/.ready ## Install this checkout's release of the engine (ARGS=--allow-downgrade: also an older one)
	@$(FAB) upgrade-engine $(HOSTS) $(ARGS)

rotate-key: .venv/.ready ## Make a new API key for CLIENT=name; the old one works until the next `provision`
	@$(FAB) rotate-key $(HOSTS) $(ARGS) --client "$(CLIENT)"

provider = $(or $(PROVIDER),$(LLM_PROVIDER),gateway)
ask: .venv/.ready ## Ask a model: make ask "…" or Q="…" (PROVIDER=claude|openai|ollama|vllm, or the gateway of STACK; ARGS="--stream --system FILE")
	@$(PYTHON) -m serving.ask --provider $(provider) $(if $(or $(filter gateway,$(provider)),$(findstring command,$(origin STACK))),--stack $(STACK)) $(ARGS)

dashboards: .venv/.ready ## Write the Grafana dashboards, and say how to load them
	@$(PYTHON) -m provisioning.dashboards.write

##@ Working on this repository
setup: .venv/.ready ## Install the tools of this checkout (every target does it if needed)
	@echo 'next: `. .venv/bin/activate` puts pulumi and python on PATH; `make` lists all targets' >&2

test: .venv/.ready ## Run all tests: unit, real Pulumi engine, real machines
	@tools/bootstrap.sh tests
	@[[ $$(id -u) != 0 ]] || $(PYTHON) -m tools.ollama >/dev/null
	@$(PYTHON) -m pytest $(WORKERS) $(ARGS)

test-unit: .venv/.ready ## Run the tests that need neither root nor network
	@$(PYTHON) -m pytest tests/unit $(WORKERS) $(ARGS)

fuzz: .venv/.ready ## Test the readers of files and events with EXAMPLES random inputs each (10000); ARGS="-k stack_files"
	@tools/bootstrap.sh tests
	@LLM_DEPLOY_FUZZ_EXAMPLES=$(or $(EXAMPLES),10000) $(PYTHON) -m pytest tests/fuzz --timeout=7200 $(WORKERS) $(ARGS)

check: .venv/.ready ## Check lint, format, types, scripts, words and lockfile
	@tools/bootstrap.sh checks
	@tools/check.sh

format: .venv/.ready ## Format the code
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

bench-start: .venv/.ready ## Time each command to its first line (ARGS="--rounds 9")
	@$(PYTHON) -m benchmarks.project.start $(ARGS)

bench-preview: .venv/.ready ## Time what our program adds to a preview of the Pulumi engine (ARGS="--stack gcp-gpu")
	@tools/bootstrap.sh tests # the simulated clouds need every SDK
	@$(PYTHON) -m benchmarks.project.preview $(ARGS)

bench-up-down: .venv/.ready ## Time preview, up and down phase by phase, against the simulated AWS
	@tools/bootstrap.sh tests # the simulated clouds need every SDK
	@$(PYTHON) -m benchmarks.project.up_down $(ARGS)

bench-converge: .venv/.ready ## Time a provision with nothing to change against pyinfra and Ansible
	@$(PYTHON) -m benchmarks.project.converge $(ARGS)

bench-gateway: .venv/.ready ## Measure what the gateway adds and how it behaves under load, beside others (ARGS=--quick)
	@tools/bootstrap.sh tests # HAProxy, and the tests' way to run it
	@$(PYTHON) -m benchmarks.project.gateway $(ARGS)

bench-watcher: .venv/.ready ## Load STACK above its places, and count engines taken for dead (ARGS="--minutes 30")
	@$(PYTHON) -m benchmarks.project.watcher --stack $(STACK) $(ARGS)

.venv/.ready: pyproject.toml uv.lock tools/bootstrap.sh
	@tools/bootstrap.sh
