// Pictures that are fetched before they are looked at.

const KEPT = 60;

export class Decoded {
  // media(path) is the address of a picture; changed() is called when one has come
  constructor(media, changed) {
    Object.assign(this, { media, changed });
    this.pictures = new Map(); // by path
  }

  // { width, height } once it is decoded, { failed } or neither
  get(path) {
    const known = this.pictures.get(path);
    if (known) return known;
    const state = { element: new Image() };
    this.pictures.set(path, state);
    for (const old of [...this.pictures.keys()].slice(0, -KEPT)) this.pictures.delete(old);
    state.element.onload = () => {
      Object.assign(state, { width: state.element.naturalWidth, height: state.element.naturalHeight });
      this.changed();
    };
    state.element.onerror = () => {
      state.failed = true;
      this.changed();
    };
    state.element.src = this.media(path);
    return state;
  }
}
