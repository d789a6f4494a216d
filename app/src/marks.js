// Marks in words, and what tells one decision from another.

export const WORDS = { normal: "harmless", anomalous: "a defect" };

// crypto.randomUUID exists only on pages that are served over HTTPS or from this machine
export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
