// What is asked, as the part of the address after "#": a link holds it, and neither the server nor what lies between
// writes it into a log.
const MOST_PAGES = 50;
const LONGEST = 6000; // characters of a drawing in a link

const SHAPE = /^[0-9a-f]{24}$/; // an id, as the server makes them
const QUERY = /^[0-9a-f]{32}$/;
const MEASURED = ["size", "area", "volume"];

export function linkOf({ asked, strokes, onlyClasses, onlyFolders, text, unlike, page, sameSize, sort, size, area, volume }) {
  const measured = { size, area, volume };
  const link = new URLSearchParams();
  if (asked?.kind === "similar") link.set("like", asked.id);
  if (asked?.kind === "sketch") {
    const drawn = packed(strokes);
    if (drawn.length <= LONGEST) link.set("drawing", drawn);
    else if (asked.query) link.set("query", asked.query);
  }
  if (asked?.kind === "file" && asked.query) link.set("query", asked.query);
  if ((asked?.kind === "similar" || asked?.kind === "file") && asked.name) link.set("name", asked.name);
  if (text) link.set("text", text);
  for (const name of onlyClasses) link.append("class", name);
  for (const name of onlyFolders) link.append("folder", name);
  for (const { id, name } of unlike) link.append("not", `${id} ${name}`);
  for (const name of MEASURED) if (measured[name]) link.set(name, measured[name]);
  if (sameSize) link.set("same-size", 1);
  if (sort !== "distance") link.set("sort", sort);
  if (page) link.set("page", page + 1);
  const made = link.toString();
  return made ? `#${made}` : "#";
}

// The reverse; what is no link asks for nothing.
export function askedIn(hash) {
  const link = new URLSearchParams(hash.replace(/^#/, ""));
  const [like, query, name, text] = ["like", "query", "name", "text"].map((key) => link.get(key) ?? "");
  const strokes = link.has("drawing") ? unpacked(link.get("drawing")) : [];
  const onlyClasses = link.getAll("class");
  const onlyFolders = link.getAll("folder");
  const unlike = link.getAll("not").map((one) => ({ id: one.split(" ")[0], name: one.slice(one.indexOf(" ") + 1) }))
    .filter(({ id }) => SHAPE.test(id));
  const measured = Object.fromEntries(MEASURED.map((name) => [name, link.get(name) ?? ""]));
  const more = { ...measured, sameSize: link.has("same-size"), sort: link.get("sort") ?? "distance" };
  let asked = null;
  if (SHAPE.test(like)) asked = { kind: "similar", id: like, name: name || "a shape" };
  else if (strokes.length) asked = { kind: "sketch", name: "your drawing" };
  else if (QUERY.test(query)) asked = { kind: "file", name: name || "a drawing", query };
  else if (text || onlyClasses.length || onlyFolders.length || MEASURED.some((name) => measured[name]))
    asked = { kind: "names", name: "names" };
  return { asked, ...(strokes.length ? { strokes } : {}), text, onlyClasses, onlyFolders, unlike, ...more,
    page: Math.max(0, Math.min(MOST_PAGES, Math.floor(Number(link.get("page")) || 1)) - 1) };
}

// Strokes as bytes: width (and 128 for the eraser), number of points in two bytes, x and y of each in 1/255 of the sheet.
function packed(strokes) {
  const bytes = [];
  for (const { width, erase, points } of strokes) {
    const kept = [];
    for (const point of points) {
      const [x, y] = point.map((one) => Math.max(0, Math.min(255, Math.round(255 * one))));
      const last = kept.at(-1);
      if (!last || Math.hypot(x - last[0], y - last[1]) >= 2) kept.push([x, y]);
    }
    bytes.push(Math.min(127, width) | (erase ? 128 : 0), kept.length >> 8, kept.length & 255, ...kept.flat());
  }
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function unpacked(text) {
  try {
    const bytes = [...atob(text.replaceAll("-", "+").replaceAll("_", "/"))].map((one) => one.charCodeAt(0));
    const strokes = [];
    for (let at = 0; at + 3 <= bytes.length;) {
      const n = bytes[at + 1] * 256 + bytes[at + 2];
      const points = [];
      for (let k = at + 3; k + 1 < Math.min(bytes.length, at + 3 + 2 * n); k += 2) points.push([bytes[k] / 255, bytes[k + 1] / 255]);
      if (points.length) strokes.push({ width: bytes[at] & 127, erase: bytes[at] > 127, points });
      at += 3 + 2 * n;
    }
    return strokes;
  } catch {
    return []; // somebody has cut it
  }
}
