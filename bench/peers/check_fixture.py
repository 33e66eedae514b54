"""Shows that the peers are the reference models: python3 check_fixture.py path/to/image_base_a.json

Runs the fixture's input, mask and noise, and compares activations, losses, gradients, one update and the ten-step
trace. Prints the largest error per quantity and its limit; exits 1 where a limit is passed.
"""

import argparse
import json
import math
import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from data2vec import Config, Data2Vec, Trainer
from data2vec_audio import AudioConfig
from data2vec_image import ImageConfig, sincos_positions
from data2vec_text import TextConfig

DTYPES = {'F32': torch.float32, 'I32': torch.int32, 'U8': torch.uint8}
# What the peers implement; a fixture that asks for something else is not for them.
REQUIRED = {
    'loss_beta': 0, 'layer_norm_first': False, 'end_of_block_targets': False, 'instance_norm_target_layer': True,
    'layer_norm_target_layer': False, 'batch_norm_target_layer': False, 'instance_norm_targets': False,
    'norm_affine': True, 'recon_loss': 0, 'd2v_loss': 1,
}  # fmt: skip
# Names of parameters, here and there: the modality's own ones; the shared blocks have the same name everywhere.
NAMES = {
    'IMAGE': (
        (r'patch\.', 'local_encoder.proj.'),
        (r'positions', 'fixed_positional_encoder.positions'),
        (r'cls', 'extra_tokens'),
    ),
    'AUDIO': (
        (r'convs\.(\d+)\.', r'local_encoder.conv_layers.\1.0.'),
        (r'norms\.(\d+)\.', r'local_encoder.conv_layers.\1.2.1.'),
        (r'feature_norm\.', 'project_features.1.'),
        (r'project\.', 'project_features.2.'),
        (r'positions\.(\d+)\.', lambda m: f'relative_positional_encoder.{int(m[1]) + 1}.0.'),
    ),
    'TEXT': (
        (r'tokens\.', 'local_encoder.embed_tokens.'),
        (r'positions\.', 'local_encoder.embed_positions.'),
        (r'embedding_norm\.', 'local_encoder.layernorm_embedding.'),
    ),
}
COMMON_NAMES = (
    (r'norm\.', 'context_encoder.norm.'),
    (r'prenet\.', 'context_encoder.blocks.'),
    (r'decoder\.convs\.(\d+)\.', r'decoder.blocks.\1.0.'),
)


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
    c, o, modality = fixture['config'], fixture['optimizer'], fixture['modality']
    m = c['modalities'][modality.lower()]
    d = m['decoder']
    wrong = {k: c[k] for k, v in REQUIRED.items() if c[k] != v}
    if wrong:
        sys.exit(f'the peers have no {wrong}')
    shared = dict(
        width=c['embed_dim'], depth=c['depth'], prenet=m['prenet_depth'], heads=c['num_heads'],
        mlp_ratio=c['mlp_ratio'], norm_eps=c['norm_eps'], top_k=c['average_top_k_layers'],
        clone_batch=c['clone_batch'], mask_prob=m['mask_prob'], noise_std=m['mask_noise_std'],
        decoder_width=d['decoder_dim'], decoder_groups=d['decoder_groups'], decoder_kernel=d['decoder_kernel'],
        decoder_layers=d['decoder_layers'], decoder_residual=d['decoder_residual'],
        projections=d['projection_layers'], projection_ratio=d['projection_ratio'], loss_scale=c['loss_scale'],
        layer_norm_targets=c['layer_norm_targets'], cls_loss=c['cls_loss'], ema_start=c['ema_decay'],
        ema_end=c['ema_end_decay'], ema_anneal=c['ema_anneal_end_step'], lr=o['lr'], betas=tuple(o['betas']),
        adam_eps=o['eps'], weight_decay=o['weight_decay'], clip_norm=o['clip_norm'],
    )  # fmt: skip
    source = fixture['tensors']['input/source']['shape']
    if modality == 'IMAGE':
        return ImageConfig(
            image_size=m['input_size'], channels=m['in_chans'], patch=m['patch_size'],
            mask_adjust=m['mask_prob_adjust'], mask_length=m['mask_length'], **shared,
        )  # fmt: skip
    if modality == 'AUDIO':
        return AudioConfig(
            samples=source[1], layers=conv_layers(m['feature_encoder_spec']), position_width=m['conv_pos_width'],
            position_depth=m['conv_pos_depth'], position_groups=m['conv_pos_groups'], mask_length=m['mask_length'],
            **shared,
        )  # fmt: skip
    vocab = fixture['tensors']['param/modality_encoders.TEXT.local_encoder.embed_tokens.weight']['shape'][0]
    return TextConfig(vocab=vocab, tokens=source[1], most_tokens=m['max_source_positions'], **shared)


def conv_layers(spec: str) -> tuple[tuple[int, int, int], ...]:
    """`[(16, 10, 5)] + [(16, 3, 2)] * 4` -> (width, kernel, stride) of each layer."""
    layers = []
    for part in spec.split('+'):
        width, kernel, stride, *times = map(int, re.findall(r'\d+', part))
        layers += [(width, kernel, stride)] * (times[0] if times else 1)
    return tuple(layers)


def reference_name(name: str, modality: str) -> str:
    """`encoder.blocks.0.fc1.weight` -> the fixture's name of the same parameter."""
    name = name.removeprefix('encoder.').removeprefix('teacher.')
    if not name.startswith('decoder.'):
        name = re.sub(r'(blocks|prenet)\.(\d+)\.(qkv|proj)\.', r'\1.\2.attn.\3.', name)
        name = re.sub(r'(blocks|prenet)\.(\d+)\.(fc1|fc2)\.', r'\1.\2.mlp.\3.', name)
    if name.startswith('blocks.'):
        return name
    for mine, theirs in (*NAMES[modality], *COMMON_NAMES):
        if re.match(mine, name):
            name = re.sub(f'^{mine}', theirs, name)
            break
    return f'modality_encoders.{modality}.{name}'


def stored(t: dict[str, torch.Tensor], key: str, like: torch.Tensor) -> torch.Tensor:
    """A tensor of the fixture in the shape that the peer has it in (a line is a picture of one line there)."""
    return t[key].reshape(like.shape)


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
    source, encoder, teacher = t['input/source'], model.encoder, model.teacher
    local = encoder.local_features(source)
    tokens, bias = encoder.visible(local, keep)
    out, _ = encoder(tokens, bias)
    decoder_in = model.decoder_input(out, keep, masked, t['input/mask_noise'], local.shape[1])
    full, full_bias = teacher.visible(local if teacher.not_averaged else teacher.local_features(source), None)
    teacher_out, ffns = teacher(full, full_bias)
    got = {
        'mid/local_features': local,
        'mid/encoder_in': encoder.embed(tokens, bias),
        'mid/encoder_out': out,
        'mid/decoder_in': decoder_in,
        'mid/decoder_out': model.decoder.proj(model.decoder(decoder_in)),
        'mid/teacher_in': teacher.embed(full, full_bias),
        'mid/teacher_out': teacher_out,
        'mid/targets': model.targets(source, local),
        'features/x': encoder(*encoder.visible(local, None))[0],
        **{f'mid/teacher_ffn_{i}': f[:, f.shape[1] - local.shape[1] :] for i, f in enumerate(ffns)},
    }
    if bias is not None:
        got['mid/alibi_bias_row0'] = bias[0]
    for name, value in got.items():
        report.relative('activations', value, t[name], 2e-5, name)
        report.absolute('activations (abs)', value, t[name], 1e-4, name)


def check_update(report: Report, trainer: Trainer, fixture: dict, t: dict[str, torch.Tensor], draw) -> None:
    model, cfg, scalars, modality = trainer.model, trainer.cfg, fixture['scalars'], fixture['modality']
    result = trainer.loss(t['input/source'], *draw)
    for key, value in zip((f'{modality}_regression', 'cls'), result):
        if key in scalars['losses_summed']:
            want = scalars['losses_summed'][key]
            report.add('losses, step 1', abs(value.item() / want - 1), 2e-6, key)
    (sum(result) / draw[1].numel()).backward()
    norm = torch.nn.utils.clip_grad_norm_(trainer.params, math.inf).item()
    report.add('gradient norm', abs(norm / scalars['grad_norm_before_clip'] - 1), 1e-5, 'step 1')
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for name, p in learned.items():
        got, want = p.grad, stored(t, 'grad/' + reference_name(name, modality), p)
        if name.endswith('qkv.bias'):  # the key part's gradient is rounding noise
            report.absolute('gradients of key biases (abs)', *(x.view(3, -1)[1] for x in (got, want)), 1e-6, name)
            got, want = (x.view(3, -1)[[0, 2]] for x in (got, want))
        report.relative('gradients', got, want, 1e-4, name)
    torch.nn.utils.clip_grad_norm_(trainer.params, cfg.clip_norm or math.inf)
    trainer.update()
    slack = (1 - trainer.ema_decay(1)) * cfg.lr
    for name, p in [*learned.items(), *((n, p) for n, p in model.named_parameters() if n.startswith('teacher.'))]:
        kind = 'ema' if name.startswith('teacher.') else 'param'
        got, want = p.detach(), stored(t, f'after/{kind}/' + reference_name(name, modality), p)
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
    t = read_safetensors(args.fixture.with_suffix('.safetensors'))
    cfg, modality = config_of(fixture), fixture['modality']
    mask = t['input/mask'].bool()
    order = mask.byte().argsort(dim=1, stable=True)
    counts = (~mask).sum(1)
    assert counts.eq(counts[0]).all(), 'rows with different counts'
    keep, masked = order[:, : counts[0]], order[:, counts[0] :]
    report = Report({})

    def fresh() -> Trainer:
        model = Data2Vec(cfg)
        state = {}
        for name, value in model.state_dict().items():
            reference = reference_name(name, modality)
            if name.endswith('slopes'):
                state[name] = value
            elif name.startswith('teacher.') and f'ema/{reference}' in t:
                state[name] = stored(t, f'ema/{reference}', value)
            else:
                state[name] = stored(t, f'param/{reference}', value)
        model.load_state_dict(state)
        return Trainer(cfg, model, args.compile)

    if modality == 'IMAGE':
        positions = t['param/modality_encoders.IMAGE.fixed_positional_encoder.positions']
        report.absolute('positions', sincos_positions(cfg.width, cfg.grid), positions, 1e-6, 'sin-cos table')
    report.absolute('noise', fixture_noise(fixture['noise'], 0), t['input/mask_noise'], 1e-9, 'step 0')
    trainer = fresh()
    check_activations(report, trainer.model, t, keep, masked)
    check_update(report, trainer, fixture, t, (keep, masked, t['input/mask_noise']))
    trainer = fresh()
    for step, want in enumerate(fixture['trace']):
        got = trainer.step(t['input/source'], (keep, masked, fixture_noise(fixture['noise'], step)))
        wanted = want['losses_summed']
        for name, value, reference, limit in (
            ('trace losses', got['loss'], want['loss_normalised'], 1e-5),
            ('trace losses', got['regression'], wanted[f'{modality}_regression'], 1e-5),
            ('trace losses', got['cls'], wanted.get('cls', 0), 1e-5),
            ('trace gradient norms', got['grad_norm'], want['grad_norm'], 1e-4),
        ):
            error = abs(value.item() / reference - 1) if reference else abs(value.item())
            report.add(name, error, limit, f'step {step + 1}')
    failed = False
    for quantity, (error, limit, where) in report.worst.items():
        ok = error <= limit
        failed |= not ok
        print(f'{"ok  " if ok else "FAIL"} {quantity:32} {error:9.2e}  limit {limit:.0e}  ({where})')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
