// What has changed on the page, for those who can't see it: told when it changes, where a region that is made anew would be silent.
export default function ({ data, parentElement }) {
  const region = parentElement.querySelector("[role=status]");
  if (region.textContent !== data.said) region.textContent = data.said;
}
