// Shapes in three dimensions. One WebGL renderer draws all of them, each onto the 2D canvas of its place: browsers allow
// few WebGL contexts, and a page shows many shapes.
import { GLTFLoader, THREE } from "../three/index.js";

const studio = { renderer: null, failed: false, side: 0 };

export const works = () => !studio.failed;
export const pose = () => ({ azimuth: -0.96, height: 0.38, distance: 1 });

function renderer(side) {
  if (studio.failed) return null;
  if (!studio.renderer) {
    try {
      studio.renderer = new THREE.WebGLRenderer({ antialias: true, alpha: true, preserveDrawingBuffer: true });
    } catch {
      studio.failed = true; // no WebGL: the pictures stay
      return null;
    }
    studio.renderer.domElement.addEventListener("webglcontextlost", () => {
      studio.renderer = null; // the browser has taken it away: the pictures come back, and the next turn begins anew
      studio.side = 0;
      document.querySelectorAll(".view.turned").forEach((view) => view.classList.remove("turned"));
    });
  }
  if (studio.side !== side) {
    studio.renderer.setSize(side, side, false);
    studio.side = side;
  }
  return studio.renderer;
}

export async function load(id) {
  const gltf = await new GLTFLoader().loadAsync(`api/v1/shapes/${id}/preview.glb`);
  const scene = new THREE.Scene();
  gltf.scene.traverse((part) => {
    if (part.isMesh) part.material = new THREE.MeshStandardMaterial({
      color: 0xb6bcc4, roughness: 0.85, metalness: 0, side: THREE.DoubleSide, flatShading: true });
    if (part.isPoints) part.material = new THREE.PointsMaterial({ color: 0x8f9aa6, size: 0.035 });
  });
  scene.add(gltf.scene);
  scene.add(new THREE.HemisphereLight(0xffffff, 0x667080, 1.6));
  const light = new THREE.DirectionalLight(0xffffff, 1.8);
  scene.add(light);
  const sphere = new THREE.Box3().setFromObject(gltf.scene).getBoundingSphere(new THREE.Sphere());
  return { scene, light, centre: sphere.center, radius: sphere.radius || 1 };
}

export function free(scene) {
  scene?.traverse((part) => { part.geometry?.dispose(); part.material?.dispose?.(); });
}

export function wire(scene, on) {
  scene.traverse((part) => { if (part.isMesh) part.material.wireframe = on; });
}

export function turn(shape, sideways, upwards) {
  shape.azimuth += sideways;
  shape.height = Math.max(-1.5, Math.min(1.5, shape.height + upwards));
}

export function approach(shape, factor) {
  shape.distance = Math.max(0.3, Math.min(3, shape.distance * factor));
}

// Draw what `load` gave, with a `pose`, onto a square canvas; false where it cannot be drawn.
export function paint(shape, canvas) {
  const side = Math.round(canvas.clientWidth * Math.min(window.devicePixelRatio || 1, 2));
  const drawer = side ? renderer(side) : null;
  if (!drawer) return false;
  const { azimuth, height, centre, radius } = shape;
  const eye = new THREE.Vector3(
    Math.cos(height) * Math.cos(azimuth), Math.sin(height), -Math.cos(height) * Math.sin(azimuth));
  const camera = new THREE.PerspectiveCamera(30, 1, 0.01, 100);
  camera.position.copy(centre).addScaledVector(eye, (radius * shape.distance * 1.02) / Math.sin(Math.PI / 12));
  camera.lookAt(centre);
  shape.light.position.copy(camera.position).add(new THREE.Vector3(0.4, 1, 0.2).multiplyScalar(radius));
  drawer.render(shape.scene, camera);
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, side, side);
  context.drawImage(drawer.domElement, 0, 0, side, side);
  return true;
}
