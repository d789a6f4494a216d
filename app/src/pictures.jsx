// A piece of an image with lines over it, and the histogram of scores. Both are SVG.

const UNITS = 10000; // width and height of an image in the units of the paths

// What of an image is shown: `side` pixels around the middle of a box, moved so that it stays within the image
export function crop([x, y, width, height], size, side) {
  const place = (middle, length) => Math.min(Math.max(middle - side / 2, Math.min(0, length - side)), Math.max(length - side, 0));
  return [place(x + width / 2, size.width), place(y + height / 2, size.height), side, side];
}

export function Picture({ src, size, view, children, label }) {
  return (
    <svg className="sr-picture" viewBox={view.join(" ")} role="img" aria-label={label}>
      <image href={src} width={size.width} height={size.height} preserveAspectRatio="none" />
      {children}
    </svg>
  );
}

// Lines keep their width whatever the zoom; the dark one below lets them be seen on any image
export function Line({ d, size, colour, width = 2, dashed = false, name }) {
  const transform = `scale(${size.width / UNITS} ${size.height / UNITS})`;
  const common = { d, transform, fill: "none", vectorEffect: "non-scaling-stroke", strokeLinejoin: "round" };
  return (
    <g data-line={name}>
      <path {...common} stroke="#000" strokeOpacity="0.55" strokeWidth={width + 2} />
      <path {...common} stroke={colour} strokeWidth={width} strokeDasharray={dashed ? "6 4" : undefined} />
    </g>
  );
}

export function Box({ box: [x0, y0, x1, y1], colour }) {
  const common = { x: x0, y: y0, width: x1 - x0, height: y1 - y0, fill: "none", vectorEffect: "non-scaling-stroke" };
  return (
    <g>
      <rect {...common} stroke="#000" strokeOpacity="0.55" strokeWidth="4" />
      <rect {...common} stroke={colour} strokeWidth="2" />
    </g>
  );
}

const WIDTH = 240;
const HEIGHT = 54;

export function Histogram({ histogram, threshold, score }) {
  const { edges, compared, alarms, good } = histogram;
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const x = (value) => ((Math.min(Math.max(value, low), high) - low) / (high - low)) * WIDTH;
  const bars = (counts, className) => {
    const most = Math.max(...counts, 1);
    return counts.map((count, i) => {
      const height = (count / most) * (HEIGHT - 12);
      return count ? (
        <rect key={i} className={className} x={x(edges[i])} y={HEIGHT - height} width={Math.max(x(edges[i + 1]) - x(edges[i]) - 1, 1)} height={height} />
      ) : null;
    });
  };
  const title = `${good ? "Good images" : "All images"} (grey) and alarms (orange) by score; the dashed line is the threshold`;
  return (
    <svg className="sr-histogram" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={title}>
      <title>{title}</title>
      {bars(compared, "sr-good")}
      {bars(alarms, "sr-alarming")}
      <line className="sr-threshold" x1={x(threshold)} x2={x(threshold)} y1="6" y2={HEIGHT} />
      <path className="sr-score" d={`M${x(score) - 5} 0h10l-5 9Z M${x(score)} 9V${HEIGHT}`} />
    </svg>
  );
}
