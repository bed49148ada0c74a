#!/usr/bin/env bash
# Trains the CT bundle's network without one patient at a time, and studies what survives on the patient left out.
#   benchmarks/leave_one_out.sh CT OUTPUT [OPTIONS of survival_study.py]
# SEEDS ("0 1 2") a patient, 20 epochs of the other patients alone: about four minutes of one core each. What is there
# is not trained or attacked again.
set -euo pipefail
ct=$1 output=$2
shift 2
bundle=$(dirname "$0")/../bundles/ct_lung_segmentation
weights=()
for seed in ${SEEDS:-0 1 2}; do
    for label in "$ct"/*_lung.nii.gz; do
        case=$(basename "$label" _lung.nii.gz)
        folder=$output/$case-$seed
        [ -f "$folder/model.pt" ] || python -m monai.bundle run train --config_file "$bundle/configs/train.yaml" \
            --bundle_root "$bundle" --dataset_dir "$ct" --seed "$seed" --output_dir "$folder" --ckpt_dir "$folder" \
            --patients "\$[p for p in ct_datalist(@dataset_dir, target='lung', split=None) if p['case'] != '$case']" \
            --patient_repeats 8 --phantom_dirs "[]" --max_epochs 20
        weights+=("$case=$folder/model.pt")
    done
done
python "$(dirname "$0")/survival_study.py" "$output" --dataset_dir "$ct" --split train test --weights "${weights[@]}" "$@"
