/**
 * The few protocol-buffer messages that event files need, written by hand. Field numbers are those of TensorFlow's
 * `event.proto` and `summary.proto`.
 */
class Message {
  private readonly parts: Buffer[] = [];

  double(field: number, value: number): this {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    return this.add(field, 1, bytes);
  }

  float(field: number, value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    return this.add(field, 5, bytes);
  }

  int(field: number, value: number): this {
    return this.add(field, 0, varint(value));
  }

  bytes(field: number, value: Uint8Array): this {
    return this.add(field, 2, varint(value.length), Buffer.from(value));
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, 'utf8'));
  }

  finish(): Buffer {
    return Buffer.concat(this.parts);
  }

  private add(field: number, wireType: number, ...content: Buffer[]): this {
    this.parts.push(varint(field * 8 + wireType), ...content);
    return this;
  }
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** `Event { wall_time: 1, file_version: 3 }`: the first record of a file. */
export function versionEvent(wallTime: number): Buffer {
  return new Message().double(1, wallTime).text(3, 'brain.Event:2').finish();
}

/**
 * `Event { wall_time: 1, step: 2, session_log: 7 { status: 1 = START } }`: readers drop what earlier files hold from
 * this step on, which is what a resumed run computes again.
 */
export function restartEvent(wallTime: number, step: number): Buffer {
  const session = new Message().int(1, 1).finish();
  return new Message().double(1, wallTime).int(2, step).bytes(7, session).finish();
}

/** `Event { wall_time: 1, step: 2, summary: 5 { value: 1 { tag: 1, simple_value: 2 } } }`. */
export function scalarsEvent(wallTime: number, step: number, scalars: Iterable<[string, number]>): Buffer {
  const summary = new Message();
  for (const [tag, value] of scalars) summary.bytes(1, new Message().text(1, tag).float(2, value).finish());
  return new Message().double(1, wallTime).int(2, step).bytes(5, summary.finish()).finish();
}
