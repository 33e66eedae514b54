"""Shows that `data2vec_image.py` is the reference model: python3 check_fixture.py path/to/image_base_a.json

Runs the fixture's input, mask and noise, and compares activations, losses, gradients, one update and the ten-step
trace. Prints the largest error per quantity and its limit; exits 1 where a limit is passed.
"""

import argparse
import json
import math
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from data2vec_image import Config, Data2Vec, Trainer, sincos_positions

DTYPES = {'F32': torch.float32, 'I32': torch.int32, 'U8': torch.uint8}
# What this peer implements; a fixture that asks for something else is not for it.
REQUIRED = {
    'loss_beta': 0, 'loss_scale': None, 'layer_norm_first': False, 'end_of_block_targets': False,
    'instance_norm_target_layer': True, 'layer_norm_target_layer': False, 'batch_norm_target_layer': False,
    'instance_norm_targets': False, 'layer_norm_targets': True, 'ema_encoder_only': False, 'norm_affine': True,
    'recon_loss': 0, 'd2v_loss': 1,
}  # fmt: skip


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    data = bytearray(path.read_bytes())
    (size,) = struct.unpack('<Q', data[:8])
    header = json.loads(data[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == '__metadata__':
            continue
        begin, end = (8 + size + offset for offset in entry['data_offsets'])
        tensors[name] = torch.frombuffer(data[begin:end], dtype=DTYPES[entry['dtype']]).view(entry['shape'])
    return tensors


def config_of(fixture: dict) -> Config:
    c, o = fixture['config'], fixture['optimizer']
    i = c['modalities']['image']
    d = i['decoder']
    wrong = {k: c[k] for k, v in REQUIRED.items() if c[k] != v}
    if wrong:
        sys.exit(f'this peer has no {wrong}')
    return Config(
        image_size=i['input_size'], channels=i['in_chans'], patch=i['patch_size'], width=c['embed_dim'],
        depth=c['depth'], prenet=i['prenet_depth'], heads=c['num_heads'], mlp_ratio=c['mlp_ratio'],
        norm_eps=c['norm_eps'], top_k=c['average_top_k_layers'], clone_batch=c['clone_batch'],
        mask_prob=i['mask_prob'], mask_adjust=i['mask_prob_adjust'], mask_length=i['mask_length'],
        noise_std=i['mask_noise_std'], decoder_width=d['decoder_dim'], decoder_groups=d['decoder_groups'],
        decoder_kernel=d['decoder_kernel'], decoder_layers=d['decoder_layers'], cls_loss=c['cls_loss'],
        ema_start=c['ema_decay'], ema_end=c['ema_end_decay'], ema_anneal=c['ema_anneal_end_step'], lr=o['lr'],
        betas=tuple(o['betas']), adam_eps=o['eps'], weight_decay=o['weight_decay'], clip_norm=o['clip_norm'],
    )  # fmt: skip


def reference_name(name: str) -> str:
    """`encoder.blocks.0.fc1.weight` -> the fixture's name of the same parameter."""
    name = name.removeprefix('encoder.').removeprefix('teacher.')
    name = name.replace('.qkv.', '.attn.qkv.').replace('.proj.', '.attn.proj.') if 'decoder' not in name else name
    name = name.replace('.fc1.', '.mlp.fc1.').replace('.fc2.', '.mlp.fc2.')
    image = 'modality_encoders.IMAGE.'
    if name.startswith('blocks.'):
        return name
    for mine, theirs in (
        ('patch.', 'local_encoder.proj.'),
        ('positions', 'fixed_positional_encoder.positions'),
        ('cls', 'extra_tokens'),
        ('norm.', 'context_encoder.norm.'),
        ('prenet.', 'context_encoder.blocks.'),
    ):
        if name.startswith(mine):
            return image + theirs + name[len(mine) :]
    if name.startswith('decoder.convs.'):
        layer, kind = name.removeprefix('decoder.convs.').split('.')
        return f'{image}decoder.blocks.{layer}.0.{kind}'
    return image + name


def fixture_noise(spec: dict, step: int) -> torch.Tensor:
    mask = 0xFFFFFFFF

    def mix(x):
        x = x ^ (x >> 16)
        x = (x * 0x7FEB352D) & mask
        x = x ^ (x >> 15)
        x = (x * 0x846CA68B) & mask
        return x ^ (x >> 16)

    seed = mix((step + mix(spec['noise_seed'])) & mask)
    v = mix((torch.arange(math.prod(spec['shape'])) + seed) & mask)
    total = (v & 255) + (v >> 8 & 255) + (v >> 16 & 255) + (v >> 24)
    return ((total - 510).double() * (spec['std'] / math.sqrt(21845))).float().view(spec['shape'])


@dataclass
class Report:
    worst: dict[str, tuple[float, float, str]]

    def add(self, quantity: str, error: float, limit: float, where: str) -> None:
        if quantity not in self.worst or not error / limit <= self.worst[quantity][0] / self.worst[quantity][1]:
            self.worst[quantity] = (error, limit, where)

    def relative(self, quantity: str, got: torch.Tensor, want: torch.Tensor, limit: float, where: str) -> None:
        assert got.shape == want.shape, f'{where}: {tuple(got.shape)} instead of {tuple(want.shape)}'
        self.add(quantity, ((got - want).norm() / want.norm()).item(), limit, where)

    def absolute(self, quantity: str, got: torch.Tensor, want: torch.Tensor, limit: float, where: str) -> None:
        self.add(quantity, (got - want).abs().max().item(), limit, where)


@torch.no_grad()
def check_activations(report: Report, model: Data2Vec, t: dict[str, torch.Tensor], keep, masked) -> None:
    cfg, images = model.cfg, t['input/source']
    encoder, teacher, d = model.encoder, model.teacher, model.cfg.width
    local = encoder.local_features(images)
    placed = (local + encoder.positions).repeat_interleave(cfg.clone_batch, 0)
    tokens = placed.gather(1, keep[..., None].expand(-1, -1, d))
    out, _ = encoder(tokens)
    decoder_in = model.decoder_input(out, keep, masked, t['input/mask_noise'])
    full = teacher.local_features(images) + teacher.positions
    teacher_out, ffns = teacher(full)
    got = {
        'mid/local_features': local,
        'mid/encoder_in': encoder.embed(tokens),
        'mid/encoder_out': out,
        'mid/decoder_in': decoder_in,
        'mid/decoder_out': model.decoder.proj(model.decoder(decoder_in)),
        'mid/teacher_in': teacher.embed(full),
        'mid/teacher_out': teacher_out,
        'mid/targets': model.targets(images),
        'features/x': encoder(local + encoder.positions)[0],
        **{f'mid/teacher_ffn_{i}': f[:, 1:] for i, f in enumerate(ffns)},
    }
    for name, value in got.items():
        report.relative('activations', value, t[name], 2e-5, name)
        report.absolute('activations (abs)', value, t[name], 1e-4, name)


def check_update(report: Report, trainer: Trainer, fixture: dict, t: dict[str, torch.Tensor], draw) -> None:
    model, cfg, scalars = trainer.model, trainer.cfg, fixture['scalars']
    result = trainer.loss(t['input/source'], *draw)
    for key, value in zip(('IMAGE_regression', 'cls'), result):
        want = scalars['losses_summed'][key]
        report.add('losses, step 1', abs(value.item() / want - 1), 2e-6, key)
    (sum(result) / draw[1].numel()).backward()
    norm = torch.nn.utils.clip_grad_norm_(trainer.params, math.inf).item()
    report.add('gradient norm', abs(norm / scalars['grad_norm_before_clip'] - 1), 1e-5, 'step 1')
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for name, p in learned.items():
        got, want = p.grad, t['grad/' + reference_name(name)]
        if name.endswith('qkv.bias'):  # the key part's gradient is rounding noise
            got, want = ((x.view(3, -1)[1]) for x in (got, want))
            report.absolute('gradients of key biases (abs)', got, want, 1e-6, name)
            got, want = ((x.view(3, -1)[[0, 2]]) for x in (p.grad, t['grad/' + reference_name(name)]))
        report.relative('gradients', got, want, 1e-4, name)
    torch.nn.utils.clip_grad_norm_(trainer.params, cfg.clip_norm or math.inf)
    trainer.update()
    slack = (1 - trainer.ema_decay(1)) * cfg.lr
    for name, p in [*learned.items(), *((n, p) for n, p in model.named_parameters() if n.startswith('teacher.'))]:
        kind = 'ema' if name.startswith('teacher.') else 'param'
        got, want = p.detach(), t[f'after/{kind}/' + reference_name(name)]
        limit, key_limit = (1e-6, slack + 1e-6) if kind == 'ema' else (5e-5, cfg.lr)
        if name.endswith('qkv.bias'):
            report.absolute(f'after/{kind}, key biases', got.view(3, -1)[1], want.view(3, -1)[1], key_limit, name)
            got, want = got.view(3, -1)[[0, 2]], want.view(3, -1)[[0, 2]]
        report.absolute(f'after/{kind}', got, want, limit, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('fixture', type=Path)
    parser.add_argument('--compile', action='store_true', help='check what torch.compile makes of it')
    args = parser.parse_args()
    fixture = json.loads(args.fixture.read_text())
    if fixture['modality'] != 'IMAGE':
        sys.exit('this peer knows images only')
    t = read_safetensors(args.fixture.with_suffix('.safetensors'))
    cfg = config_of(fixture)
    mask = t['input/mask'].bool()
    order = mask.byte().argsort(dim=1, stable=True)
    keep, masked = order[:, : cfg.kept], order[:, cfg.kept :]
    assert mask.sum(1).eq(masked.shape[1]).all(), 'rows with different counts'
    report = Report({})

    def fresh() -> Trainer:
        model = Data2Vec(cfg)
        names = [n for n in model.state_dict() if not n.startswith('teacher.')]
        state = {n: t['param/' + reference_name(n)] for n in names}
        start = {n: t.get('ema/' + reference_name(n), t['param/' + reference_name(n)]) for n in names}
        state |= {n.replace('encoder.', 'teacher.', 1): v for n, v in start.items() if n.startswith('encoder.')}
        model.load_state_dict(state)
        return Trainer(cfg, model, args.compile)

    positions = t['param/modality_encoders.IMAGE.fixed_positional_encoder.positions']
    report.absolute('positions', sincos_positions(cfg.width, cfg.grid), positions, 1e-6, 'sin-cos table')
    report.absolute('noise', fixture_noise(fixture['noise'], 0), t['input/mask_noise'], 1e-9, 'step 0')
    trainer = fresh()
    check_activations(report, trainer.model, t, keep, masked)
    check_update(report, trainer, fixture, t, (keep, masked, t['input/mask_noise']))
    trainer = fresh()
    for step, want in enumerate(fixture['trace']):
        got = trainer.step(t['input/source'], (keep, masked, fixture_noise(fixture['noise'], step)))
        for name, value, reference, limit in (
            ('trace losses', got['loss'], want['loss_normalised'], 1e-5),
            ('trace losses', got['regression'], want['losses_summed']['IMAGE_regression'], 1e-5),
            ('trace losses', got['cls'], want['losses_summed']['cls'], 1e-5),
            ('trace gradient norms', got['grad_norm'], want['grad_norm'], 1e-4),
        ):
            report.add(name, abs(value.item() / reference - 1), limit, f'step {step + 1}')
    failed = False
    for quantity, (error, limit, where) in report.worst.items():
        ok = error <= limit
        failed |= not ok
        print(f'{"ok  " if ok else "FAIL"} {quantity:32} {error:9.2e}  limit {limit:.0e}  ({where})')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
