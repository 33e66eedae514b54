/** The image modality with small copies of its datasets: their sizes and checksums stand in the file that D2V_TEST_PUBLISHED names. */
import { readFileSync } from 'node:fs';
import image, { cifarWith, imagenetWith } from '@d2v/modality-image';

const { imagenet, cifar10, cifar100 } = JSON.parse(readFileSync(process.env.D2V_TEST_PUBLISHED, 'utf8'));

export default {
  ...image,
  datasets: {
    ...image.datasets,
    imagenet: imagenetWith(imagenet),
    cifar10: cifarWith('cifar10', cifar10),
    cifar100: cifarWith('cifar100', cifar100),
  },
};
