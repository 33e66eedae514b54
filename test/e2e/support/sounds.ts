/** A WAV file of 16-bit mono at 16 kHz: a tone. @param samples its length @param hertz its pitch */
export function waveFile(samples: number, hertz: number): Buffer {
  const file = Buffer.alloc(44 + 2 * samples);
  file.write('RIFF', 0);
  file.writeUInt32LE(36 + 2 * samples, 4);
  file.write('WAVEfmt ', 8);
  file.writeUInt32LE(16, 16);
  for (const [i, value] of [1, 1].entries()) file.writeUInt16LE(value, 20 + 2 * i);
  file.writeUInt32LE(16_000, 24);
  file.writeUInt32LE(32_000, 28);
  for (const [i, value] of [2, 16].entries()) file.writeUInt16LE(value, 32 + 2 * i);
  file.write('data', 36);
  file.writeUInt32LE(2 * samples, 40);
  for (let i = 0; i < samples; i++) {
    file.writeInt16LE(Math.round(8000 * Math.sin((2 * Math.PI * hertz * i) / 16_000)), 44 + 2 * i);
  }
  return file;
}
