/** Archives made by tests, byte by byte where programs would refuse to make them. */
import { Header, Pax } from 'tar';

export interface TarFile {
  path: string;
  content?: Uint8Array | string;
  /** Default: `File`. */
  type?: ConstructorParameters<typeof Header>[0] extends infer H
    ? H extends { type?: infer T }
      ? T
      : never
    : never;
  linkpath?: string;
  /** What the header says; default: the content's. */
  size?: number;
}

/** A tar of files in the given order. */
export function makeTar(files: readonly TarFile[]): Buffer {
  const parts: Buffer[] = [];
  for (const { path, content = '', type = 'File', linkpath, size } of files) {
    const bytes = Buffer.from(content);
    const fields = {
      path,
      type,
      linkpath,
      size: size ?? bytes.length,
      mode: 0o644,
      mtime: new Date(0),
      uid: 0,
      gid: 0,
    };
    const block = Buffer.alloc(512);
    if (new Header(fields).encode(block)) parts.push(new Pax({ path, linkpath }).encode());
    parts.push(block, bytes, Buffer.alloc(-bytes.length & 511));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}
