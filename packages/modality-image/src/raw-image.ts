/** A decoded picture: 8 bits per channel, interleaved, rows from top to bottom. */
export interface RawImage {
  width: number;
  height: number;
  /** 1 = grey, 3 = sRGB. */
  channels: 1 | 3;
  /** height x width x channels. */
  data: Uint8Array;
}
