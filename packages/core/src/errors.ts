/**
 * An error that a user can act on: the message is one clear line that says what is wrong and what to do about it.
 * The CLI prints it without a stack and exits with code 1; everything else that is thrown is a defect of ours.
 */
export class D2vError extends Error {
  override readonly name: string = 'D2vError';
  /** Tells the CLI, which may have another copy of this class, that the message is meant for the user. */
  readonly userFacing = true;
}

/** A sample that cannot be used (damaged, truncated, unsupported). Loaders skip, count and list it. */
export class BadSampleError extends D2vError {
  override readonly name = 'BadSampleError';

  /**
   * @param file the file (or other identification) of the sample
   * @param reason what is wrong with it, without the file's name
   */
  constructor(
    readonly file: string,
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`${file}: ${reason}`, options);
  }
}
