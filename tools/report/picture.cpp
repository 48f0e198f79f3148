// SPDX-License-Identifier: Apache-2.0
#include "report/picture.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "program/console.h"
#include "report/words.h"

namespace softmpc::tools::report {
namespace {

// of the picture, in its own units
constexpr double kWidth = 560, kHeight = 300, kLeft = 58, kRight = 14, kTop = 12, kBottom = 42;

struct Span {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void hold(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
};

/// From data to the picture.
struct Frame {
  Span x{}, y{};
  bool logarithmic = false;

  double px(double v) const {
    return kLeft + (v - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight);
  }
  double py(double v) const {
    const auto scale = [this](double w) { return logarithmic ? std::log10(w) : w; };
    const double share = (scale(v) - scale(y.low)) / (scale(y.high) - scale(y.low));
    return kHeight - kBottom - share * (kHeight - kTop - kBottom);
  }
};

const std::vector<double>& abscissa(const Curve& curve, Over over) {
  return over == Over::steps ? curve.steps : curve.seconds;
}

Frame frame_of(const Figure& figure, Over over) {
  Frame frame{.logarithmic = figure.logarithmic};
  frame.x.hold(0);
  for (const Curve& curve : figure.curves) {
    for (const double x : abscissa(curve, over)) frame.x.hold(x);
    for (const double y : curve.low) frame.y.hold(y);
    for (const double y : curve.high) frame.y.hold(y);
    for (const SeedLine& line : curve.lines)
      for (const double y : line.values)
        if (figure.wide) frame.y.hold(y);
  }
  if (!(frame.x.high > 0)) frame.x.high = 1;
  if (frame.logarithmic) {
    frame.y = {frame.y.low / 1.2, frame.y.high * 1.2};
    return frame;
  }
  if (frame.y.low > 0 && frame.y.low < 0.5 * frame.y.high) frame.y.low = 0;
  if (frame.y.high < 0 && frame.y.high > 0.5 * frame.y.low) frame.y.high = 0;
  const double room = frame.y.high > frame.y.low ? 0.04 * (frame.y.high - frame.y.low)
                                                 : 0.1 * std::abs(frame.y.high) + 0.1;
  if (frame.y.low != 0) frame.y.low -= room;
  if (frame.y.high != 0 || frame.y.low == 0) frame.y.high += room;
  return frame;
}

std::string axis_number(double value) {
  const double size = std::abs(value);
  const std::string sign = value < 0 ? "\u2212" : "";
  if (size >= 1e6) return sign + text("%.4gM", size / 1e6);
  if (size >= 1e4) return sign + text("%.4gk", size / 1e3);
  if (size >= 1e3) return sign + grouped(std::llround(size));
  return sign + text("%.4g", size);
}

std::string grid(const Frame& frame, Over over, const TimeUnit& unit) {
  std::string svg;
  const std::vector<double> rows = frame.logarithmic ? logarithmic_ticks(frame.y.low, frame.y.high)
                                                     : ticks(frame.y.low, frame.y.high, 5);
  for (const double y : rows)
    svg += text(
        "<path class=g d=\"M%.1f %.1fH%.1f\"/><text x=\"%.1f\" y=\"%.1f\" class=e>%s</text>", kLeft,
        frame.py(y), kWidth - kRight, kLeft - 7, frame.py(y) + 4.2, axis_number(y).c_str());
  const double scale = over == Over::time ? unit.seconds : 1;
  for (const double x : ticks(frame.x.low / scale, frame.x.high / scale, 6)) {
    const double at = frame.px(x * scale);
    svg += text("<path class=a d=\"M%.1f %.1fv5\"/><text x=\"%.1f\" y=\"%.1f\" class=%s>%s</text>",
                at, kHeight - kBottom, at, kHeight - kBottom + 18, at > kWidth - 30 ? "e" : "m",
                axis_number(x).c_str());
  }
  svg += text("<path class=a d=\"M%.1f %.1fH%.1f\"/>", kLeft, kHeight - kBottom, kWidth - kRight);
  return svg + text("<text x=\"%.1f\" y=\"%.1f\" class=m>%s</text>", (kLeft + kWidth - kRight) / 2,
                    kHeight - 6,
                    over == Over::steps ? "environment steps"
                                        : text("wall clock, %s", unit.name).c_str());
}

std::string line_path(const Frame& frame, const std::vector<double>& x,
                      const std::vector<double>& y, const std::vector<std::size_t>& points) {
  std::string path;
  for (const std::size_t i : points) {
    if (!std::isfinite(x[i]) || !std::isfinite(y[i])) continue;
    path += text("%c%.1f %.1f", path.empty() ? 'M' : 'L', frame.px(x[i]), frame.py(y[i]));
  }
  return path;
}

std::string band_path(const Frame& frame, const std::vector<double>& x, const Curve& curve,
                      const std::vector<std::size_t>& points) {
  std::string there = line_path(frame, x, curve.high, points), back;
  for (auto i = points.rbegin(); i != points.rend(); ++i)
    if (std::isfinite(x[*i])) back += text("L%.1f %.1f", frame.px(x[*i]), frame.py(curve.low[*i]));
  return there.empty() ? "" : there + back + "Z";
}

std::string classes(const Figure& figure, std::size_t curve) {
  const std::string colour = std::to_string(figure.colours[curve] % kColours);
  return figure.curves[curve].baseline ? "cb" : "c" + colour;
}

std::string curve_text(const Figure& figure, std::size_t c, const Frame& frame, Over over) {
  const Curve& curve = figure.curves[c];
  const std::vector<double>& x = abscissa(curve, over);
  const auto points = picture_points({&curve.median, &curve.low, &curve.high}, kMostPoints);
  std::string svg = "<g class=" + classes(figure, c) + ">";
  if (curve.lines.size() > 1)
    svg += "<path class=b d=\"" + band_path(frame, x, curve, points) + "\"/>";
  if (figure.wide && curve.lines.size() > 1) {
    svg += "<g class=seeds>";
    for (const SeedLine& line : curve.lines)
      svg += "<path class=s d=\"" +
             line_path(frame, x, line.values, picture_points({&line.values}, kMostPoints / 2)) +
             "\"/>";
    svg += "</g>";
  }
  if (points.size() == 1)
    return svg + text("<circle r=3 cx=\"%.1f\" cy=\"%.1f\"/></g>", frame.px(x[0]),
                      frame.py(curve.median[0]));
  return svg + "<path class=l d=\"" + line_path(frame, x, curve.median, points) + "\"/></g>";
}

}  // namespace

std::vector<double> ticks(double low, double high, int count) {
  const double raw = (high - low) / count, power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0})
    if (factor * power >= raw) step = factor * power;
  std::vector<double> marks;
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; ++k)
    marks.push_back(k * step);
  return marks;
}

std::vector<double> logarithmic_ticks(double low, double high) {
  std::vector<double> marks;
  for (double power = std::ceil(std::log10(low)); power <= std::log10(high); ++power)
    marks.push_back(std::pow(10, power));
  return marks.size() < 2 ? ticks(low, high, 5) : marks;
}

Range vertical_range(const Figure& figure) {
  const Frame frame = frame_of(figure, Over::steps);
  return {frame.y.low, frame.y.high};
}

std::string picture(const Figure& figure, Over over) {
  const Frame frame = frame_of(figure, over);
  std::string names;
  for (const Curve& curve : figure.curves) names += (names.empty() ? "" : ", ") + curve.name;
  std::string svg =
      text("<svg viewBox=\"0 0 %g %g\" role=img aria-label=\"%s over %s: %s\">", kWidth, kHeight,
           escaped(figure.title).c_str(), over == Over::steps ? "environment steps" : "wall clock",
           escaped(names).c_str());
  svg += grid(frame, over, time_unit(longest_time(figure)));
  for (std::size_t c = 0; c < figure.curves.size(); ++c) svg += curve_text(figure, c, frame, over);
  return svg + "</svg>";
}

std::string swatch(const Figure& figure, std::size_t curve) {
  return "<svg class=swatch viewBox=\"0 0 30 10\" aria-hidden=true><g class=" +
         classes(figure, curve) + "><path class=l d=\"M1 5H29\"/></g></svg>";
}

}  // namespace softmpc::tools::report
