#!/usr/bin/env bash
# What each ingredient of the U-Net gives: the same few updates, one change at a time, then one table.
#   bash docs/training/ablation.sh DATASET OUT
# DATASET holds photographs of 96 pixels or more: raycolor prepare PHOTOGRAPHS DATASET --size-px 128
set -euo pipefail
data=$1 out=$2
common=(--data "$data" --epochs 2 --batch-size 32 --crop-px 96 --set optim.lr=2e-3 --set optim.ema=0.98
        --set optim.weight_decay=0.01)
train() { # NAME SETTINGS...
  raycolor train unet "${common[@]}" --out "$out/$1" "${@:2}"
}
train base
train no-pretraining --set network.pretrained=false --set network.frozen_blocks=-1
train l1 --set loss.pixel=l1
train mse --set loss.pixel=mse
train bins --set network.head=bins --set loss.classes=0.05
train bins-balanced --set network.head=bins --set loss.classes=0.05 --set loss.balance=1
train zoom --set augment.zoom=0.6
train film --set augment.film=0.5
train aging --set augment.aging=0.5
train gain --set loss.chroma_gain=1.2
train colorfulness --set loss.colorfulness=0.3
train perceptual --set loss.perceptual=0.05
train adversarial --init-from "$out/base" --set loss.discriminator=true --set optim.lr=2e-4 --set epochs=1
raycolor evaluate "$out"/{base,no-pretraining,l1,mse,bins,bins-balanced,zoom,film,aging,gain,colorfulness,perceptual,adversarial} \
  --data "$data" --out "$out/report"
