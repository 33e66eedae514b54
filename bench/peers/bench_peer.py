"""Step time of the PyTorch peer: mask + forward + backward + clip + Adam + EMA.

    python3 bench_peer.py image|audio|text --preset tiny|base [--compile] [--threads 2] [--updates N] [--warmup N]
                          [--device cuda] [--dtype bf16] [--batch N] [--clones N]

On a GPU updates are not waited for one by one, as training would not: each round gives their mean. bf16 is autocast.

Prints one JSON line. With --serve it prints a line `ready` after the warm-up, then answers every line `N` on standard
input with the JSON of N more updates, so that a caller can alternate between this and another implementation.
"""

import argparse
import dataclasses
import json
import resource
import statistics
import sys
import time

import data2vec_audio
import data2vec_image
import data2vec_text
import torch
from data2vec import Trainer

PRESETS = {
    'image': data2vec_image.PRESETS, 'audio': data2vec_audio.PRESETS, 'text': data2vec_text.PRESETS,
}  # fmt: skip


def measure(trainer: Trainer, source: torch.Tensor, updates: int) -> dict:
    if source.is_cuda:
        return measure_on_gpu(trainer, source, updates)
    times = []
    loss = 0.0
    for _ in range(updates):
        start = time.perf_counter()
        loss = trainer.step(source)['loss'].item()
        times.append(time.perf_counter() - start)
    return {'seconds': times, 'median': statistics.median(times), 'loss': loss}


def measure_on_gpu(trainer: Trainer, source: torch.Tensor, updates: int) -> dict:
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(updates):
        loss = trainer.step(source)['loss']
    torch.cuda.synchronize()
    mean = (time.perf_counter() - start) / updates
    return {'seconds': [mean], 'median': mean, 'loss': loss.item()}


def compiled_graphs() -> int:
    return torch._dynamo.utils.counters['stats']['unique_graphs'] if 'torch._dynamo' in sys.modules else 0


def warm_up(trainer: Trainer, source: torch.Tensor, updates: int) -> None:
    """So many updates, and again while they compile anything: masks may have sizes that were not seen before."""
    for _ in range(5):
        graphs = compiled_graphs()
        measure(trainer, source, updates)
        if compiled_graphs() == graphs:
            return


def peak_memory(device: str) -> int:
    """Most bytes used so far: of the process, or of the GPU by tensors."""
    if device.startswith('cuda'):
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('modality', choices=sorted(PRESETS))
    parser.add_argument('--preset', choices=['tiny', 'base'], default='tiny')
    parser.add_argument('--compile', action='store_true')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dtype', choices=['f32', 'bf16'], default='f32')
    parser.add_argument('--batch', type=int, help="samples of an update (default: the preset's)")
    parser.add_argument('--clones', type=int, help="masks per sample (default: the preset's)")
    parser.add_argument('--updates', type=int, default=10)
    parser.add_argument('--warmup', type=int, default=3)
    parser.add_argument('--serve', action='store_true')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(1)
    batch, cfg = PRESETS[args.modality][args.preset]
    batch = args.batch or batch
    if args.clones:
        cfg = dataclasses.replace(cfg, clone_batch=args.clones)
    with torch.device(args.device):
        source = cfg.source(batch)
        trainer = Trainer(cfg, compiled=args.compile, dtype=args.dtype)
    warm_up(trainer, source, args.warmup)

    def answer(updates: int) -> None:
        measured = measure(trainer, source, updates)
        about = {
            'peer': 'pytorch', 'version': torch.__version__, 'compiled': args.compile, 'modality': args.modality,
            'preset': args.preset, 'device': args.device, 'dtype': args.dtype,
            'threads': torch.get_num_threads(), 'graphs': compiled_graphs(),
            'config': {'batch': batch, **dataclasses.asdict(cfg)},
        }  # fmt: skip
        print(json.dumps({**about, **measured, 'peak_memory': peak_memory(args.device)}), flush=True)

    if not args.serve:
        answer(args.updates)
        return
    print('ready', flush=True)
    for line in sys.stdin:
        answer(int(line))


if __name__ == '__main__':
    main()
