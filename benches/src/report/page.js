// Values under the pointer, at the same moment in all plots of a run; a click in the legend hides a line.
// The page is complete without it.
'use strict';
(function () {
  function all(root, selector) { return Array.prototype.slice.call(root.querySelectorAll(selector)); }
  function clock(seconds) {
    var s = Math.floor(seconds), two = function (n) { return n > 9 ? n : '0' + n; };
    if (60 > s) { return s + ' s'; }
    return s >= 3600 ? Math.floor(s / 3600) + ':' + two(Math.floor(s / 60) % 60) + ':' + two(s % 60) : Math.floor(s / 60) + ':' + two(s % 60);
  }
  function percent(nines) { return (100 * (1 - Math.pow(10, -nines))).toPrecision(nines > 3 ? 6 : 4) + ' %'; }
  var plots = all(document, 'svg.plot').map(function (svg) {
    var figure = svg.closest('figure'), data = svg.dataset;
    return {
      svg: svg, figure: figure, group: data.group, write: data.across === 'time' ? clock : percent,
      low: +data.low, high: +data.high, left: +data.left, right: +data.right, width: +data.width,
      cursor: svg.querySelector('.cursor'), at: figure.querySelector('.at'), curves: null
    };
  });
  function curves(plot) {
    plot.curves = plot.curves || all(plot.svg, 'path[data-values]').map(function (path) {
      var key = plot.figure.querySelector('.key[data-key="' + path.dataset.key + '"] b');
      return {
        x: path.dataset.x.split(' ').map(Number), values: path.dataset.values.split('|'),
        stepped: path.dataset.stepped === 'true', out: key
      };
    });
    return plot.curves;
  }
  function nearest(curve, x) {
    var low = 0, high = curve.x.length - 1;
    while (high > low) {
      var middle = Math.ceil((low + high) / 2);
      if (curve.x[middle] > x) { high = middle - 1; } else { low = middle; }
    }
    var next = curve.x[low + 1];
    return !curve.stepped ? (next - x > x - curve.x[low] ? low : (next === undefined ? low : low + 1)) : low;
  }
  function show(plot, x) {
    var place = plot.left + (x - plot.low) / (plot.high - plot.low) * (plot.right - plot.left);
    plot.svg.classList.add('pointed');
    plot.cursor.setAttribute('x1', place);
    plot.cursor.setAttribute('x2', place);
    plot.at.textContent = 'at ' + plot.write(x);
    curves(plot).forEach(function (curve) { curve.out.textContent = curve.values[nearest(curve, x)] || '–'; });
  }
  function hide(plot) {
    plot.svg.classList.remove('pointed');
    plot.at.textContent = '';
    curves(plot).forEach(function (curve) { curve.out.textContent = ''; });
  }
  function beside(plot) { return plots.filter(function (other) { return other.group === plot.group; }); }
  plots.forEach(function (plot) {
    plot.svg.addEventListener('pointermove', function (event) {
      var box = plot.svg.getBoundingClientRect();
      var place = (event.clientX - box.left) / box.width * plot.width;
      var part = Math.min(1, Math.max(0, (place - plot.left) / (plot.right - plot.left)));
      beside(plot).forEach(function (other) { show(other, plot.low + part * (plot.high - plot.low)); });
    });
    plot.svg.addEventListener('pointerleave', function () { beside(plot).forEach(hide); });
    all(plot.figure, '.key[data-key]').forEach(function (key) {
      key.setAttribute('role', 'button');
      key.tabIndex = 0;
      function toggle() {
        var off = key.classList.toggle('off');
        all(plot.svg, 'path[data-key="' + key.dataset.key + '"]').forEach(function (path) { path.classList.toggle('off', off); });
      }
      key.addEventListener('click', toggle);
      key.addEventListener('keydown', function (event) { if (event.key === 'Enter') { toggle(); } });
    });
  });
}());
