
// What CircuitsVis leaves out for those who hear a page or see badly: names of pictures, an ink that stands out on its
// ground, and headings that are captions within a view and no headings of the page. Whatever it draws anew is eased anew.
CircuitsVis.ease = (id) => {
  const place = document.getElementById(id);
  const light = (part) => (part <= 10.31 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const ease = () => {
    for (const part of place.querySelectorAll(":is(h1, h2, h3, h4, h5, h6):not([role])")) part.setAttribute("role", "presentation");
    for (const part of place.querySelectorAll("canvas:not([aria-label])")) {
      part.setAttribute("role", "img");
      part.setAttribute("aria-label", place.getAttribute("aria-label") ?? "");
    }
    for (const part of place.querySelectorAll('[style*="background"]')) {
      const [red, green, blue, opacity = 1] = (part.style.backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
      if (blue === undefined || opacity < 1) continue;
      part.style.color = 0.2126 * light(red) + 0.7152 * light(green) + 0.0722 * light(blue) > 0.18 ? "#000" : "#fff";
    }
  };
  new MutationObserver(ease).observe(place, { childList: true, subtree: true });
  ease();
};
