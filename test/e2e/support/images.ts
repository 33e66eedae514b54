import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';

/** An RGB picture as PNG. `pixel` gives the three channels, 0 to 255. */
export function png(size: number, pixel: (x: number, y: number) => [number, number, number]): Buffer {
  const rows = Buffer.alloc(size * (1 + size * 3));
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) rows.set(pixel(x, y), y * (1 + size * 3) + 1 + x * 3);
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size, 0);
  header.writeUInt32BE(size, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND')]);
}

function chunk(type: string, data = Buffer.alloc(0)): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}

/** A folder of small pictures in three classes: horizontal, vertical and diagonal stripes of varying width and colour. */
export function imageFolder(root: string, perClass = 12): string {
  const classes: Record<string, (x: number, y: number) => number> = {
    horizontal: (_x, y) => y,
    vertical: (x) => x,
    diagonal: (x, y) => x + y,
  };
  for (const [name, along] of Object.entries(classes)) {
    mkdirSync(join(root, name), { recursive: true });
    for (let i = 0; i < perClass; i++) {
      const width = 1 + (i % 4);
      const colour = [(i * 67) % 256, (i * 129) % 256, (i * 191) % 256] as const;
      const image = png(20, (x, y) => {
        const on = Math.floor(along(x, y) / width) % 2 === 0;
        return on ? [colour[0], colour[1], colour[2]] : [255 - colour[0], 20, 255 - colour[2]];
      });
      writeFileSync(join(root, name, `${i}.png`), image);
    }
  }
  return root;
}
