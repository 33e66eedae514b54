/** Saving and loading: one dictionary with the student under the reference's names and the teacher under `_ema.`. */
import type { RawTensor } from '@d2v/cuda-kernels';
import { D2vError } from '../errors.js';
import type { ParameterArena, StateValue } from '../nn/index.js';
import type { Student } from './student.js';
import type { Teacher } from './teacher.js';

/** Prefix of the teacher's tensors. */
export const TEACHER_PREFIX = '_ema.';

export interface LoadReport {
  /** Tensors of this model that the file does not have. */
  missing: string[];
  /** Tensors of the file that this model does not have. */
  unexpected: string[];
}

export interface StateParts {
  student: Student;
  teacher: Teacher | null;
  arena: ParameterArena;
  /** Names that the teacher has in a state dictionary. */
  inTeacher: (name: string) => boolean;
}

/** Live views of all tensors by name. */
export function stateOf({ student, teacher, inTeacher }: StateParts): Map<string, RawTensor> {
  const state = student.stateDict();
  for (const [name, raw] of teacher?.module.stateDict() ?? []) {
    if (inTeacher(name)) state.set(TEACHER_PREFIX + name, raw);
  }
  return state;
}

/** Parts that only pretraining has: a model for inference may go without them. */
function pretrainingOnly(name: string): boolean {
  return (
    name.startsWith(TEACHER_PREFIX) ||
    /^(modality_encoders\.[^.]+\.decoder|shared_decoder|recon_proj)\./.test(name)
  );
}

/**
 * Copies values by name. Without teacher values the teacher becomes a copy of the student.
 * @param strict throw if a tensor is missing, or if one is unexpected that is not of a part left out
 */
export function loadInto(
  parts: StateParts,
  values: ReadonlyMap<string, StateValue>,
  strict: boolean,
): LoadReport {
  const { student, teacher, arena, inTeacher } = parts;
  const forStudent = new Map<string, StateValue>();
  const forTeacher = new Map<string, StateValue>();
  for (const [name, value] of values) {
    if (name.startsWith(TEACHER_PREFIX)) forTeacher.set(name.slice(TEACHER_PREFIX.length), value);
    else forStudent.set(name, value);
  }
  const { missing, unexpected } = student.loadStateDict(forStudent);
  if (!teacher) {
    unexpected.push(...[...forTeacher.keys()].map((name) => TEACHER_PREFIX + name));
  } else if (forTeacher.size === 0) {
    arena.resetTeacher();
  } else {
    // Frozen tensors are shared with the student, which has just been given its own values.
    const own = new Map([...forTeacher].filter(([name]) => arena.entries.get(name)?.averaged));
    const known = new Set([...teacher.module.stateDict().keys()].filter(inTeacher));
    teacher.module.loadStateDict(own);
    for (const name of known) if (!forTeacher.has(name)) missing.push(TEACHER_PREFIX + name);
    for (const name of forTeacher.keys()) if (!known.has(name)) unexpected.push(TEACHER_PREFIX + name);
  }
  arena.refresh();
  const surplus = unexpected.filter((name) => !pretrainingOnly(name));
  if (strict && (missing.length > 0 || surplus.length > 0)) {
    const list = (names: string[]) => `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}`;
    const parts = [
      missing.length > 0 ? `${missing.length} tensors are missing (${list(missing)})` : '',
      surplus.length > 0 ? `${surplus.length} are not part of this model (${list(surplus)})` : '',
    ];
    throw new D2vError(
      `these weights are of another configuration: ${parts.filter(Boolean).join('; ')}. Use the configuration they were saved with`,
    );
  }
  return { missing, unexpected };
}
