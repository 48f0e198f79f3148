'use strict';
// Turns the static pictures into charts: zoom, values under the pointer, seeds.
(() => {
  if (typeof Dygraph === 'undefined') return;
  const figures = JSON.parse(document.getElementById('data').textContent).figures;
  const dashes = [null, [9, 4], [2, 4], [11, 4, 2, 4], [5, 3], [15, 5], [2, 2]];
  const style = () => getComputedStyle(document.documentElement);
  const colour = (curve) => style().getPropertyValue(curve.baseline ? '--base' : '--s' + curve.colour).trim();
  const seeds = document.getElementById('seeds');
  const showSeeds = () => seeds && seeds.checked;
  const minus = (text) => text.replace('-', '\u2212');
  const short = (v) => {
    const size = Math.abs(v);
    if (size >= 1e6) return minus(+(v / 1e6).toPrecision(4) + 'M');
    if (size >= 1e4) return minus(+(v / 1e3).toPrecision(4) + 'k');
    return minus(size >= 1000 ? Math.round(v).toLocaleString('en') : String(+v.toPrecision(4)));
  };
  const long = (v) => minus(Math.abs(v) >= 1000 ? Math.round(v).toLocaleString('en') : String(+v.toPrecision(4)));

  // Rows [x, [low, middle, high], ...] over the x of all curves together.
  function table(figure, over) {
    const columns = [], rows = new Map(), labels = ['x'];
    const add = (name, curve, x, y, low, high, seed) => {
      const column = columns.push({curve, seed}) - 1;
      labels.push(name + '\u200b'.repeat(column));  // names may be equal, labels must differ
      x.forEach((at, i) => {
        if (at === null || y[i] === null) return;
        if (!rows.has(at)) rows.set(at, []);
        rows.get(at)[column] = [low[i], y[i], high[i]];
      });
    };
    for (const curve of figure.curves) {
      add(curve.name, curve, curve[over], curve.median, curve.low, curve.high, null);
      if (!showSeeds() || curve.lines.length < 2) continue;
      for (const line of curve.lines)
        add(line.name, curve, line[over] || curve[over], line.values, line.values, line.values, line.name);
    }
    const none = [null, null, null];
    const data = [...rows.keys()].sort((a, b) => a - b)
      .map((at) => [at, ...columns.map((_, i) => rows.get(at)[i] || none)]);
    return {columns, labels, data};
  }

  function looks(made) {
    const series = {};
    made.columns.forEach(({curve, seed}, i) => {
      series[made.labels[i + 1]] = seed === null
        ? {strokeWidth: 2.2, strokePattern: curve.baseline ? [6, 5] : dashes[curve.colour], color: colour(curve)}
        : {strokeWidth: 0.9, color: colour(curve), highlightCircleSize: 2};
    });
    return {series, gridLineColor: style().getPropertyValue('--grid').trim(),
            axisLineColor: style().getPropertyValue('--rule').trim()};
  }

  function values(made, outputs, row, where) {
    outputs.forEach((output) => { output.textContent = ''; });
    if (row === null) return;
    const text = new Map();
    made.columns.forEach(({curve, seed}, i) => {
      const cell = made.data[row][i + 1];
      if (cell[1] === null) return;
      const band = seed === null && curve.lines.length > 1 ? ` (${long(cell[0])} to ${long(cell[2])})` : '';
      text.set(curve, (text.get(curve) || '') + (seed === null ? `${long(cell[1])}${band}` : `, ${seed} ${long(cell[1])}`));
    });
    for (const [curve, words] of text) outputs[curve.index].textContent = words + where(made.data[row][0]);
  }

  const charts = [];
  for (const plot of document.querySelectorAll('.plot')) {
    const figure = figures[plot.dataset.figure], over = plot.dataset.over;
    figure.curves.forEach((curve, i) => { curve.index = i; });
    const unit = over === 'time' ? ' ' + figure.unit : '';
    const outputs = [...plot.parentElement.querySelectorAll('.legend output')];
    const where = (x) => over === 'time' ? ` at ${long(x)}${unit}` : ` at ${Math.round(x).toLocaleString('en')}`;
    const chart = document.createElement('div');
    chart.className = 'chart';
    plot.append(chart);
    plot.classList.add('live');
    let made = table(figure, over);
    const graph = new Dygraph(chart, made.data, {
      labels: made.labels, customBars: true, connectSeparatedPoints: true, legend: 'never', fillAlpha: 0.17,
      logscale: figure.logarithmic, highlightCircleSize: 4, xRangePad: 4, rightGap: 14, includeZero: false,
      xlabel: over === 'time' ? 'wall clock, ' + figure.unit : 'environment steps', xLabelHeight: 20,
      valueRange: figure.logarithmic ? null : figure.range, animatedZooms: true,
      axes: {x: {drawGrid: false, axisLabelFormatter: short, pixelsPerLabel: 70},
             y: {axisLabelFormatter: (v) => short(v), axisLabelWidth: 52, pixelsPerLabel: 42}},
      highlightCallback: (event, x, points, row) => values(made, outputs, row, where),
      unhighlightCallback: () => values(made, outputs, null),
      ...looks(made),
    });
    charts.push(() => {
      made = table(figure, over);
      graph.updateOptions({file: made.data, labels: made.labels, ...looks(made)});
    });
  }
  const redraw = () => charts.forEach((draw) => draw());
  if (seeds) seeds.addEventListener('change', redraw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  document.documentElement.classList.add('js');
  document.documentElement.dataset.charts = charts.length;
})();
