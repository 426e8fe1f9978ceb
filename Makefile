SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# A virtual environment knows where it lies: a checkout that moved needs a new one.
CHECKSUM := $(shell pwd | cksum | cut -d ' ' -f 1)
VENV := .venv/ready-$(CHECKSUM)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MOLECULE_GLOB := molecule/*/molecule.yml
# The home directory is left alone. Paths of sockets must be short, and a checkout's may be long.
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
export ANSIBLE_SSH_CONTROL_PATH_DIR := /tmp/mlrig-$(shell id -u)-$(CHECKSUM)
# An idle connection would otherwise live on for minutes.
FORGET_CONNECTIONS := for socket in $(ANSIBLE_SSH_CONTROL_PATH_DIR)/*; do ssh -q -O exit -o ControlPath=$$socket - 2>/dev/null || true; done; rm -rf $(ANSIBLE_SSH_CONTROL_PATH_DIR)
VM := python -m ansible_collections.mlrig.workstation.tests.hosts.vm

.PHONY: help bootstrap demo demo-ssh demo-down test test-fast lint sanity unit molecule bench vm-up vm-ssh vm-down test-vm test-ml tested-set docs lock clean

help: ## explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

bootstrap: $(VENV) ## make the development environment, .venv (PYTHON=/path/to/python3 takes another Python)

$(VENV): requirements-dev.txt tests/tools/bootstrap
	@tests/tools/bootstrap
	@touch $@

demo: $(VENV) ## bring up a throwaway rig, configure it twice, and tell what it did (RIG=name: another host of the inventory)
	@python tests/hosts/demo.py up $(if $(RIG),--rig $(RIG))

demo-ssh: $(VENV) ## open a shell on the rig that demo brought up
	@python tests/hosts/demo.py ssh

demo-down: $(VENV) ## remove the rig that demo brought up
	@trap '$(FORGET_CONNECTIONS)' EXIT; python tests/hosts/demo.py down

test: $(VENV) ## everything: lint, unit, sanity, molecule
	@tests/tools/stages lint unit sanity molecule

test-fast: $(VENV) ## what needs no container: lint, unit
	@tests/tools/stages lint unit

lint: $(VENV) ## run all linters, and see whether the generated documentation is up to date
	@tests/tools/lint

unit: $(VENV) ## run the unit tests
	@pytest --numprocesses auto --dist loadfile

sanity: $(VENV) ## run ansible-test sanity, with nothing ignored or skipped, and shellcheck
	@tests/tools/sanity

molecule: $(VENV) ## run all Molecule scenarios (SCENARIO=name: one of them)
	@trap '$(FORGET_CONNECTIONS); tests/hosts/engine down' EXIT; tests/hosts/engine up; tests/tools/molecule $(SCENARIO)

bench: $(VENV) ## measure what asking and setting eight GPUs costs, beside nvidia-smi
	@python tests/bench/gpus.py

vm-up: $(VENV) ## bring up a virtual machine with a kernel, disks and UEFI of its own, and tell how to reach it (SHAPE=ext4: another root file system than btrfs)
	@$(VM) up $(if $(SHAPE),--shape $(SHAPE))

vm-ssh: $(VENV) ## open a shell on the virtual machine that vm-up brought up (SHAPE=ext4)
	@$(VM) ssh $(if $(SHAPE),--shape $(SHAPE))

vm-down: $(VENV) ## remove all virtual machines of this checkout; their images stay
	@trap '$(FORGET_CONNECTIONS)' EXIT; $(VM) down

test-vm: $(VENV) ## test on virtual machines of both shapes (SHAPE=btrfs or ext4: one of them)
	@trap '$(FORGET_CONNECTIONS)' EXIT; printf '%s\n' $(or $(SHAPE),btrfs ext4) | xargs --replace --max-procs=2 tests/tools/logged vm-{} pytest --verbose --durations 0 --durations-min 10 tests/vm --shape {}

test-ml: $(VENV) ## install the tested set of packages for real on a test host (4.3 GB), train with it, damage and mend it
	@trap '$(FORGET_CONNECTIONS); tests/hosts/engine down' EXIT; tests/hosts/engine up; pytest --verbose tests/ml

tested-set: $(VENV) ## resolve the tested set anew, after an edit of roles/ml_env/vars/main/tested_set.yml, and test it
	@python tests/tools/tested_set.py
	@$(MAKE) --no-print-directory test-ml

docs: $(VENV) ## write docs/ and CHANGELOG.md anew from the specs and changelog fragments
	@tests/tools/generate

lock: ## bring requirements-dev.txt in step with pyproject.toml (delete it first to upgrade everything)
	@tests/tools/lock

clean: ## remove the rig that demo brought up, virtual machines, .venv, caches and built files
	@[[ ! -e .cache/demo ]] || $(MAKE) --no-print-directory demo-down
	@[[ ! -e .cache/vm/machines ]] || $(MAKE) --no-print-directory vm-down
	@[[ ! -e .cache/engine ]] || tests/hosts/engine down
	@[[ ! -e .cache/engine ]] || { echo 'clean: .cache is needed to stop that engine later; nothing is removed'; exit 1; }
	@$(FORGET_CONNECTIONS)
	rm -rf .venv .cache .ansible mlrig-workstation-*.tar.gz
