# The commands people run. Each one is a line here and a program elsewhere; `make` alone lists them.
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
ARGS ?=

PYTHON := .venv/bin/python
INFRA := $(PYTHON) -m infra.lifecycle.commands
FAB := $(PYTHON) -m provisioning
# Whose hosts the tasks of fab are about: those of a stack, or of a file (docs/inventory.md); all, or those that HOST names.
HOSTS = $(if $(INVENTORY),--inventory $(INVENTORY),--stack $(STACK))$(foreach host,$(HOST), --host $(host))
# The stack of a kind: the one that comes with CLOUD, else STACK.
stack_of_kind = $(if $(CLOUD),$(CLOUD)-$(1),$(STACK))
# The clouds' SDKs take seconds to compile: what was compiled is kept, whatever the shell around says.
unexport PYTHONDONTWRITEBYTECODE
# Files of tests run side by side, one for each core; WORKERS= runs them one after the other.
WORKERS ?= --numprocesses=$(shell nproc) --dist=loadgroup --no-loadscope-reorder
# One run folder for the steps of one `make`: all their results lie side by side.
export LLM_DEPLOY_RUN ?= $(shell date -u +%Y%m%dT%H%M%S.%3NZ)

TARGETS := help setup demo deploy deploy-cpu deploy-gpu deploy-gpu-spot preflight preview up plan provision smoke refresh \
	down leftovers adopt bundle status adapters logs ssh restart reboot upgrade-engine rotate-key \
	test test-unit fuzz check format bench-start bench-preview bench-up-down bench-converge
.PHONY: $(TARGETS)

# Reject what a target does not use (tools/make_variables.py) before anything runs.
quoted = '$(subst ','\'',$(1))'
typed = $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(call quoted,$(name)=$($(name)))))
system_python = python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null && echo python3
any_python = $$(command -v $(PYTHON) || { $(system_python); } || { tools/bootstrap.sh >&2; echo $(PYTHON); })
goals = $(foreach goal,$(MAKECMDGOALS),$(call quoted,$(goal)))
check_variables = $(shell "$(any_python)" -IS tools/make_variables.py $(goals) $(typed) || exit 1)
refusal := $(if $(filter-out help,$(MAKECMDGOALS)),$(check_variables))
$(if $(refusal)$(filter-out 0,$(.SHELLSTATUS)),$(error $(or $(refusal),tools/make_variables.py failed)))

help: ## Show this list
	@sed -nE -e 's/^##@ (.*)/\n\1/p' -e 's/^([a-z][a-z-]*):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18
	@printf '\nSTACK=%s names the stack (stacks/Pulumi.<stack>.yaml); ARGS="…" is handed to the command.\n' '$(STACK)'

##@ The main job
demo: .venv/.ready ## Make a machine here, serve a model with two adapters, prove it, remove it again (ENGINE=vllm|ollama)
	@$(PYTHON) -m tools.demo $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

deploy-cpu: .venv/.ready ## Everything for a CPU stack: up, provision, smoke (CLOUD=aws|gcp, or STACK)
	@$(PYTHON) -m infra.lifecycle.expect_kind cpu --stack $(call stack_of_kind,cpu)
	@$(MAKE) deploy CLOUD= STACK=$(call stack_of_kind,cpu)

deploy-gpu: .venv/.ready ## The same for a GPU stack (CLOUD=aws|gcp)
	@$(PYTHON) -m infra.lifecycle.expect_kind gpu --stack $(call stack_of_kind,gpu)
	@$(MAKE) deploy CLOUD= STACK=$(call stack_of_kind,gpu)

deploy-gpu-spot: .venv/.ready ## The same for a GPU stack on the spot market (CLOUD=aws|gcp)
	@$(PYTHON) -m infra.lifecycle.expect_kind gpu-spot --stack $(call stack_of_kind,gpu-spot)
	@$(MAKE) deploy CLOUD= STACK=$(call stack_of_kind,gpu-spot)

deploy: .venv/.ready ## The same for any STACK
	@$(MAKE) up STACK=$(STACK)
	@$(MAKE) provision STACK=$(STACK)
	@$(MAKE) smoke STACK=$(STACK)

##@ Step by step
preflight: .venv/.ready ## Look for what would go wrong in a cloud: login, quotas, types, image, price
	@$(PYTHON) -m infra.lifecycle.preflight_command --stack $(STACK) $(ARGS)

preview: .venv/.ready ## Show what `up` would make, change or remove
	@$(INFRA) preview --stack $(STACK) $(ARGS)

up: .venv/.ready ## Make the machines of STACK
	@$(INFRA) up --stack $(STACK) $(ARGS)

plan: .venv/.ready ## Show what `provision` would change on the hosts, with diffs
	@$(FAB) plan $(HOSTS) $(ARGS)

provision: .venv/.ready ## Install engine, models and gateway on the hosts; runs again safely
	@$(FAB) provision $(HOSTS) $(ARGS)

smoke: .venv/.ready ## Prove that the endpoint answers, and only to those who may ask; that GPUs compute
	@$(FAB) smoke $(HOSTS) $(ARGS)

refresh: .venv/.ready ## Ask what has become of the machines of STACK, and note it in its state
	@$(INFRA) refresh --stack $(STACK) $(ARGS)

down: .venv/.ready ## Destroy STACK and confirm that nothing is left
	@$(INFRA) down --stack $(STACK) $(ARGS)

leftovers: .venv/.ready ## List resources with our tags in all regions of CLOUD; ARGS=--delete removes orphans after asking
	@$(PYTHON) -m infra.lifecycle.orphans_command --cloud $(CLOUD) $(ARGS)

##@ Hosts that exist already
adopt: .venv/.ready ## Look at HOST=user@address and write its inventory (docs/existing-hosts.md)
	@$(FAB) adopt --host "$(HOST)" $(if $(INVENTORY),--inventory $(INVENTORY)) $(ARGS)

bundle: .venv/.ready ## One archive that provisions the hosts of STACK without network (docs/offline.md)
	@$(FAB) bundle $(HOSTS) $(ARGS)

##@ Everyday
status: .venv/.ready ## One screen per host: engine, models, certificate, disk, memory
	@$(FAB) status $(HOSTS) $(ARGS)

adapters: .venv/.ready ## Adapter versions: DO=list|plan|apply|prune, DO=entry ARGS=FOLDER, DO=promote ARGS=contract@4, DO=rollback ARGS=contract
	@$(FAB) adapters:$(DO) $(HOSTS) $(ARGS)

logs: .venv/.ready ## Journal of engine and gateway
	@$(FAB) logs $(HOSTS) $(ARGS)

ssh: .venv/.ready ## A shell on a host (HOST=name when there are several)
	@$(FAB) ssh $(HOSTS) $(ARGS)

restart: .venv/.ready ## Restart the engine; running requests finish first
	@$(FAB) restart $(HOSTS) $(ARGS)

reboot: .venv/.ready ## Reboot the hosts and wait until they serve again
	@$(FAB) reboot $(HOSTS) $(ARGS)

upgrade-engine: .venv/.ready ## Bring the engine to this checkout's release, or back (ARGS=--allow-downgrade: to an older one)
	@$(FAB) upgrade-engine $(HOSTS) $(ARGS)

rotate-key: .venv/.ready ## Give CLIENT=name a new API key; the old one works until the next `provision`
	@$(FAB) rotate-key $(HOSTS) $(ARGS) --client "$(CLIENT)"

##@ Working on this repository
setup: .venv/.ready ## Install the tools of this checkout (every target does it when needed)

test: .venv/.ready ## Run all tests: unit, real Pulumi engine, real machines
	@tools/bootstrap.sh tests
	@[[ $$(id -u) != 0 ]] || $(PYTHON) -m tools.ollama >/dev/null
	@$(PYTHON) -m pytest $(WORKERS) $(ARGS)

test-unit: .venv/.ready ## Run the tests that need neither root nor network
	@$(PYTHON) -m pytest tests/unit $(WORKERS) $(ARGS)

fuzz: .venv/.ready ## Try what reads files and events with EXAMPLES odd inputs each (10000); ARGS="-k stack_files"
	@tools/bootstrap.sh tests
	@LLM_DEPLOY_FUZZ_EXAMPLES=$(or $(EXAMPLES),10000) $(PYTHON) -m pytest tests/fuzz --timeout=7200 $(WORKERS) $(ARGS)

check: .venv/.ready ## Lint, format, types, scripts and lockfile
	@tools/bootstrap.sh checks
	@tools/check.sh

format: .venv/.ready ## Put the code into the project's format
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

bench-start: .venv/.ready ## Time each command to its first line (ARGS="--rounds 9")
	@$(PYTHON) -m benchmarks.project.start $(ARGS)

bench-preview: .venv/.ready ## Time what our program adds to the bare engine in a preview (ARGS="--stack gcp-gpu")
	@tools/bootstrap.sh tests # the simulated clouds stand on every SDK
	@$(PYTHON) -m benchmarks.project.preview $(ARGS)

bench-up-down: .venv/.ready ## Time preview, up and down phase by phase, against the simulated AWS
	@tools/bootstrap.sh tests # the simulated clouds stand on every SDK
	@$(PYTHON) -m benchmarks.project.up_down $(ARGS)

bench-converge: .venv/.ready ## Time a provision with nothing to change against pyinfra and Ansible
	@$(PYTHON) -m benchmarks.project.converge $(ARGS)

.venv/.ready: pyproject.toml uv.lock tools/bootstrap.sh
	@tools/bootstrap.sh
