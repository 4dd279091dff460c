#!/usr/bin/env bash
# What each ingredient of the U-Net gives: the same few updates, one change at a time, then one table.
#   bash docs/training/ablation.sh DATASET OUT [NAME...]      NAME: some of those below; default: all
# DATASET holds photographs of 96 pixels or more: raycolor prepare PHOTOGRAPHS DATASET --size-px 128 --train 1280 --val 200
set -euo pipefail
data=$1 out=$2
declare -A changes=(
  [base]=""
  [bins]="network.head=bins loss.classes=0.05"
  [zoom]="augment.zoom=0.6"
  [film]="augment.film=0.5"
  [aging]="augment.aging=0.5"
  [colorfulness]="loss.colorfulness=0.3"
  [gain]="loss.chroma_gain=1.2"
  [perceptual]="loss.perceptual=0.05"
  [no-pretraining]="network.pretrained=false network.frozen_blocks=-1"
  [bins-balanced]="network.head=bins loss.classes=0.05 loss.balance=1"
  [adversarial]="loss.discriminator=true optim.lr=2e-4 epochs=1" # from base: these updates come on top
)
names=("${@:3}")
[ ${#names[@]} -gt 0 ] || names=(base bins zoom film aging colorfulness gain perceptual no-pretraining bins-balanced adversarial)
for name in "${names[@]}"; do
  settings=()
  for change in ${changes[$name]}; do settings+=(--set "$change"); done
  [ "$name" != adversarial ] || settings+=(--init-from "$out/base")
  raycolor train unet --data "$data" --out "$out/$name" --batch-size 32 --crop-px 96 --set epochs=2 --set optim.lr=2e-3 \
    --set optim.ema=0.98 --set optim.weight_decay=0.01 "${settings[@]}"
done
raycolor evaluate "${names[@]/#/$out/}" --data "$data" --out "$out/report"
