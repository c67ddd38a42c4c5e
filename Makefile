# One command runs the main job, one runs the tests; both set up what they need.
SHELL := /bin/bash
CORE ?= 2.19

# GATE="ruff mypy" runs only the gates that are named.
GATE ?=

.PHONY: quickstart quickstart-vm clean-quickstart pictures setup test test-core test-containers test-openstack test-machines test-long coverage fuzz soak soak-qemu bench bench-aws bench-openstack bench-report docs-tables aws-policy packers bench-packer bench-bake clean

# A sealed fleet on this machine: bake, verify, promote, swap and attest, in containers.
quickstart:
	@began=$$(date +%s) && tests/tools/install quickstart first && \
	    tests/tools/with-collection --lean $(CORE) python examples/quickstart.py --began $$began

# The same with virtual machines.
quickstart-vm:
	@began=$$(date +%s) && tests/tools/install quickstart-vm first && \
	    tests/tools/with-collection --lean $(CORE) python examples/quickstart.py --began $$began --provider qemu

clean-quickstart:
	@tests/tools/with-collection --lean $(CORE) python examples/quickstart.py --clean

# Records the quickstart in a terminal, and draws it and its report for the README. The report needs Chromium.
pictures: clean-quickstart
	@tests/tools/install quickstart
	@tests/tools/with-collection --lean $(CORE) python tests/tools/pictures.py

# What the tests need: Debian's packages, and Python's packages for one ansible-core.
setup:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) ansible --version

# Everything that needs no virtual machine.
test:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) tests/tools/gates.py test $(GATE)

# What depends on the version of ansible-core: make test-core CORE=2.16
test-core:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) tests/tools/gates.py core $(GATE)

# Real containers: swaps that are killed, fail or run under load.
test-containers:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) tests/tools/gates.py containers $(GATE)

# The control plane of a real OpenStack, on hosts that only pretend to run machines.
test-openstack:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) tests/tools/gates.py openstack $(GATE)

# Everything that boots virtual machines, and every Packer that "make packers" built.
test-machines:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) tests/tools/gates.py machines $(GATE)

# The tests that are marked as long: with AWS every kill and fault, with OpenStack every kill, with virtual machines every strategy and every moment of a kill.
test-long:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) tests/tools/gates.py long $(GATE)

# Which lines of the collection the units run.
coverage:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) tests/tools/gates.py coverage

# Swaps on real machines, killed at random moments: IMMUTABLE_SOAK_MINUTES (15), IMMUTABLE_SOAK_SEED.
soak-qemu:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) bash -c 'PYTHONPATH=$$ANSIBLE_COLLECTIONS_PATH exec python tests/vm/soak.py'

# The engine in the simulated cloud, against its bounds; writes docs/explanation/performance.md.
bench:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) bash -c 'PYTHONPATH=$$ANSIBLE_COLLECTIONS_PATH exec python -m bench'

# Random histories of fleets, for SOAK_MINUTES (10).
soak:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) python tests/tools/soak.py

# Text from outside that no parser has seen yet, for FUZZ_MINUTES (10).
fuzz:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) python tests/tools/fuzz.py

# The tables in the docs that are made from the code.
docs-tables:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) bash -c 'PYTHONPATH=$$ANSIBLE_COLLECTIONS_PATH python tests/tools/docs_tables.py'

# The rights that are needed on AWS, from the calls that the tests there make.
aws-policy:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) bash -c 'PYTHONPATH=$$ANSIBLE_COLLECTIONS_PATH exec python tests/tools/aws_policy.py'

# Other Packers and their plugins, from source, for the gate of the same name. What is built and whole is kept.
packers:
	@tests/tools/packers.py

# What the packer tasks and an unchanged bake cost beside Packer itself, in pairs: IMMUTABLE_BENCH_PAIRS (15).
bench-packer:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) bash -c 'PYTHONPATH=$$ANSIBLE_COLLECTIONS_PATH exec python -m bench.packer'

# Where the time of the example's bake goes; IMMUTABLE_BENCH_AGAINST: a folder of collections with another release, to compare.
bench-bake:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) bash -c 'PYTHONPATH=$$ANSIBLE_COLLECTIONS_PATH exec python -m bench.bake'

# How large reports are, how long Chromium draws them, and how long a first look with ansible-core alone takes.
bench-report:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) bash -c 'PYTHONPATH=$$ANSIBLE_COLLECTIONS_PATH exec python -m bench.pages'

# The same work as the peers, in one run, on moto as the cloud: IMMUTABLE_BENCH_SIZES ("10 100"), IMMUTABLE_BENCH_BATCH (5), IMMUTABLE_TERRAFORM_PLUGINS (a folder with the provider for AWS).
bench-aws:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) bash -c 'PYTHONPATH=$$ANSIBLE_COLLECTIONS_PATH exec python -m bench.aws'

# The control plane has no network to the outside, so the other collection and Heat are installed before it starts.
bench-openstack:
	@tests/tools/install test
	@tests/tools/with-collection $(CORE) bash -c 'export PYTHONPATH=$$ANSIBLE_COLLECTIONS_PATH && python -m bench.peers && \
	    python -m bench.openstack.heat_root && exec tests/openstack/control_plane/run python -m bench.openstack'

clean: clean-quickstart
	rm -rf .cache .build
